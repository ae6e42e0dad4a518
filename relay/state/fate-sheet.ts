import { maxPackRequests } from "../pack/pack.ts";
import type { Fate, FateSheet, LedgerCount, Settlement } from "./port.ts";

// A sheet has one byte per request, 0 for a request without a fate; if any of them was redriven, an extended form also has the
// number of redrives of each.

export interface SheetChange {
  readonly sheet: FateSheet;
  readonly changed: boolean;
  /** What the change adds to the sums; negative for fates that are withdrawn. */
  readonly counts: ReadonlyMap<LedgerCount, number>;
}

/**
 * Notes fates of requests that have none.
 *
 * @param redrives how often the requests had been redriven when they were sent. A request that was redriven since keeps its
 *   state: only its newest copy decides its fate.
 */
export function noteFates(sheet: FateSheet, settlement: Settlement, redrives = 0): SheetChange {
  const draft = new SheetDraft(sheet, [...settlement.keys()]);
  let head = true;
  for (const [index, fate] of [...settlement].sort(([a], [b]) => a - b)) {
    draft.reopen(index, redrives);
    if (draft.isSettled(index, redrives)) continue;
    draft.set(index, fate, head);
    if (fate === "deadLettered") head = false;
  }
  return draft.finish();
}

/** Notes that an operator has moved requests to another target. The counts tell how many were not moved before. */
export function noteMoved(sheet: FateSheet, indexes: readonly number[], redrives: number): SheetChange {
  return noteFates(sheet, new Map(indexes.map((index) => [index, "moved"])), redrives);
}

/**
 * Withdraws `deadLettered` from requests that are redriven for the `redrives`-th time, and `moved` from those that come back.
 * Other fates stay.
 */
export function reopenRequests(sheet: FateSheet, indexes: readonly number[], redrives: number): SheetChange {
  const draft = new SheetDraft(sheet, indexes);
  for (const index of indexes) draft.reopen(index, redrives);
  return draft.finish();
}

/** A sheet that has all requests of its pack. */
export function widenSheet(sheet: FateSheet, requests: number): FateSheet {
  return requests === 0 ? sheet : new SheetDraft(sheet, [requests - 1]).finish().sheet;
}

/** Number of requests that were redriven, here or at the target that they were moved from. */
export function countRedriven(sheet: FateSheet): number {
  return Array.from(decodeSheet(sheet).redrives).filter((redrives) => redrives > 0).length;
}

/** Whether a request has no fate. */
export function isWaiting(sheet: FateSheet): boolean {
  return Array.from(decodeSheet(sheet).codes).includes(0);
}

/** The requests that the sheet has, with or without a fate. */
export function knownIndexes(sheet: FateSheet): ReadonlySet<number> {
  return new Set(Array.from(decodeSheet(sheet).codes).keys());
}

/** The requests of which the `redrives`-th redrive, or a later one, has sent a copy. */
export function redrivenIndexes(sheet: FateSheet, redrives = 0): ReadonlySet<number> {
  const counts = Array.from(decodeSheet(sheet).redrives);
  return new Set([...counts.keys()].filter((index) => counts[index] > 0 && counts[index] >= redrives));
}

/** The requests that a copy with this number of redrives need not send: they have a fate, or a newer copy was sent. */
export function settledIndexes(sheet: FateSheet, redrives = 0): ReadonlySet<number> {
  const draft = new SheetDraft(sheet, []);
  return new Set(draft.indexes().filter((index) => draft.isSettled(index, redrives)));
}

/** The requests that a dead letter with this number of redrives no longer holds: they were redriven since, or answered. */
export function outgrownIndexes(sheet: FateSheet, redrives: number): ReadonlySet<number> {
  const draft = new SheetDraft(sheet, []);
  return new Set(draft.indexes().filter((index) => draft.isOutgrown(index, redrives)));
}

/**
 * Number of requests whose fate is final, so that no copy of them is left. `deadLettered` is not final: it is withdrawn if
 * the dead letter is redriven. Neither is the fate of a redriven request: a crash may have left a dead letter of it.
 */
export function countFinal(sheet: FateSheet): number {
  const draft = new SheetDraft(sheet, []);
  return draft.indexes().filter((index) => draft.isFinal(index)).length;
}

/** A sheet that is being changed. */
class SheetDraft {
  readonly #codes: number[];
  readonly #redrives: number[];
  readonly #counts = new Map<LedgerCount, number>();
  #changed = false;

  /** @param indexes the requests that will be changed. Throws `RangeError` for an index that no request has. */
  constructor(sheet: FateSheet, indexes: readonly number[]) {
    const wrong = indexes.find((index) => !(Number.isInteger(index) && index >= 0 && index < maxPackRequests));
    if (wrong !== undefined) {
      throw new RangeError(`${wrong} is not the index of a request: a pack has at most ${maxPackRequests} requests`);
    }
    const known = decodeSheet(sheet);
    const length = indexes.reduce((most, index) => Math.max(most, index + 1), known.codes.length);
    this.#codes = Array.from({ length }, (_, index) => known.codes[index] ?? 0);
    this.#redrives = Array.from({ length }, (_, index) => known.redrives[index] ?? 0);
  }

  indexes(): readonly number[] {
    return [...this.#codes.keys()];
  }

  isSettled(index: number, redrives: number): boolean {
    const [code, seen] = [this.#codes[index], this.#redrives[index]];
    if (seen !== redrives) return seen > redrives || isFinalCode(code);
    return code !== 0;
  }

  isOutgrown(index: number, redrives: number): boolean {
    return this.#redrives[index] > redrives || isFinalCode(this.#codes[index]);
  }

  isFinal(index: number): boolean {
    return this.#redrives[index] === 0 && isFinalCode(this.#codes[index]);
  }

  reopen(index: number, redrives: number): void {
    if (this.isOutgrown(index, redrives - 1)) return;
    const code = this.#codes[index];
    if (isDead(code)) this.#count("deadLettered", -1);
    if (code === deadLetterHead) this.#count("letters", -1);
    if (code === codes.moved) this.#count("moved", -1);
    this.#codes[index] = 0;
    this.#redrives[index] = redrives;
    this.#changed = true;
  }

  /** @param head true for the first request of a dead letter that is noted: the heads are the number of dead letters. */
  set(index: number, fate: Fate, head: boolean): void {
    const isHead = fate === "deadLettered" && head;
    this.#codes[index] = isHead ? deadLetterHead : codes[fate];
    this.#count(fate, 1);
    if (isHead) this.#count("letters", 1);
    this.#changed = true;
  }

  finish(): SheetChange {
    const counts = new Map([...this.#counts].filter(([, count]) => count !== 0));
    return { sheet: encodeSheet(this.#codes, this.#redrives), changed: this.#changed, counts };
  }

  #count(what: LedgerCount, difference: number): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + difference);
  }
}

function isDead(code: number): boolean {
  return code === codes.deadLettered || code === deadLetterHead;
}

/** A request that was moved may come back, with a copy that was redriven more often. */
function isFinalCode(code: number): boolean {
  return code !== 0 && !isDead(code) && code !== codes.moved;
}

function encodeSheet(fateCodes: readonly number[], redrives: readonly number[]): FateSheet {
  if (redrives.every((count) => count === 0)) return Uint8Array.from(fateCodes);
  const runs: { readonly count: number; length: number }[] = [];
  for (const count of redrives) {
    const last = runs.at(-1);
    if (last?.count === count) last.length++;
    else runs.push({ count, length: 1 });
  }
  const head = Uint32Array.of(redrives.length, ...runs.flatMap(({ count, length }) => [length, count]));
  const bytes = new Uint8Array(1 + head.length * 4 + fateCodes.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = extended;
  for (const [i, value] of head.entries()) view.setUint32(1 + i * 4, value);
  bytes.set(fateCodes, 1 + head.length * 4);
  return bytes;
}

function decodeSheet(sheet: FateSheet): { readonly codes: ArrayLike<number>; readonly redrives: ArrayLike<number> } {
  if (sheet[0] !== extended) return { codes: sheet, redrives: [] };
  const view = new DataView(sheet.buffer, sheet.byteOffset, sheet.byteLength);
  const requests = view.getUint32(1);
  const redrives: number[] = [];
  let offset = 5;
  for (; redrives.length < requests; offset += 8) {
    const [length, count] = [view.getUint32(offset), view.getUint32(offset + 4)];
    for (let i = 0; i < length; i++) redrives.push(count);
  }
  return { codes: sheet.subarray(offset), redrives };
}

// Stored in files and tables: the numbers must never change.
const codes: Readonly<Record<Fate, number>> = {
  filtered: 1,
  sampledOut: 2,
  "answered.1xx": 3,
  "answered.2xx": 4,
  "answered.3xx": 5,
  "answered.4xx": 6,
  "answered.5xx": 7,
  expired: 8,
  skipped: 9,
  deadLettered: 10,
  cancelled: 11,
  captured: 12,
  moved: 14,
  discarded: 15,
  "answered.malformed": 16,
  dropped: 17,
};
/** `deadLettered`, for one request of each dead letter. Sheets of older versions have none. */
const deadLetterHead = 13;
/**
 * The first byte of the extended form. Then 4 bytes each: the number of requests, and for each run of requests with the same
 * number of redrives its length and that number. Then a byte per request, as above.
 */
const extended = 255;
