import type { AgentLedger } from "../../../agent/ledger.ts";
import type { PackSummary } from "../../../relay/pack/summary.ts";
import { type Expectation, isExact, redacted } from "./expectation.ts";
import { type Fate, fateOf } from "./fate.ts";
import { readMessages } from "./messages.ts";
import { type PackContent, type PackedRecord, readPackContent } from "./pack-content.ts";
import { toRequest, type Unusable } from "./request.ts";
import type { ModelSetting } from "./rules.ts";

/** The connection that a request came from. */
export interface Origin {
  readonly caseNumber: number;
  readonly chunks: readonly Buffer[];
}

/** A pack has something else than its requests. */
export class ContentMismatch extends Error {
  readonly origin: Origin;

  constructor(message: string, origin: Origin) {
    super(message);
    this.name = "ContentMismatch";
    this.origin = origin;
  }
}

interface Waiting {
  readonly expectation: Expectation;
  readonly capturedAtMs: number;
  readonly origin: Origin;
}

type Count = Fate | Unusable["unusable"] | "seen" | "dropped";

/** Says what has to become of the messages of each NOTIFY, and compares it with packs and ledger. */
export class ContentCheck {
  readonly #setting: ModelSetting;
  readonly #random: () => number;
  readonly #waiting: Waiting[] = [];
  readonly #counts = new Map<Count, number>();
  readonly #omitted = new Map<string, number>();
  #unknownOmissions = 0;
  #sequence = 0;
  /** Requests that were compared with what is in a pack. */
  compared = 0;
  /** Those of which every byte was compared. */
  exact = 0;

  /** @param random returns the same numbers as that of the agent */
  constructor(setting: ModelSetting, random: () => number) {
    this.#setting = setting;
    this.#random = random;
  }

  /** Takes note of a NOTIFY that the agent is about to read. */
  expect(payload: Buffer, peerFrameBytes: number, capturedAtMs: number, hasRoom: boolean, origin: Origin): void {
    const { complete, malformed } = readMessages(payload.toString("latin1"));
    const allowance = { request: 32_767, answer: 32_767 };
    for (const message of complete) {
      const request = toRequest(message, peerFrameBytes, allowance);
      this.#count("seen");
      if ("unusable" in request) {
        this.#count(request.unusable);
        if (request.unusable === "malformed message") return;
        continue;
      }
      const fate = fateOf(request, this.#setting, this.#random);
      if (fate) this.#count(fate);
      else {
        const expectation = redacted(request, this.#setting.rules);
        if (expectation.omitted) addOne(this.#omitted, expectation.omitted);
        else if (expectation.body === undefined) this.#unknownOmissions++;
        if (hasRoom) this.#waiting.push({ expectation, capturedAtMs, origin });
        else this.#count("dropped");
      }
    }
    if (!malformed) return;
    this.#count("seen");
    this.#count("malformed message");
  }

  /** Compares a pack with the requests that wait for one. */
  checkPack(content: Buffer, summary: PackSummary, packId: Buffer, agent: string): void {
    const pack = readPackContent(content);
    const waiting = this.#waiting.splice(0, pack.records.length);
    const [first] = waiting;
    if (pack.records.length === 0) throw new Error("a pack has no requests");
    if (waiting.length < pack.records.length) throw new Error("a pack has more requests than were captured");
    this.#sequence++;
    const last = Math.max(first.capturedAtMs, waiting[waiting.length - 1].capturedAtMs);
    assertSame("the head of a pack", headOf(pack), {
      ...{ version: 1, attempt: 0, id: packId.toString("hex"), firstMs: first.capturedAtMs },
      ...{ sequence: this.#sequence, agent },
    });
    assertSame("the summary of a pack", summary, {
      ...{ v: 1, pack: packId.toString("hex"), agent, seq: this.#sequence, count: waiting.length },
      ...{ bytes: content.length, first: toIso(first.capturedAtMs), last: toIso(last) },
    });
    for (const [i, { expectation, capturedAtMs, origin }] of waiting.entries()) {
      const record = pack.records[i];
      // A clock that is set back within a pack stands still for it.
      const atMs = Math.max(capturedAtMs, first.capturedAtMs);
      const difference = findDifference(record, expectation, i, atMs);
      if (difference !== undefined) throw new ContentMismatch(difference, origin);
      this.compared++;
      if (isExact(expectation)) this.exact++;
    }
  }

  checkLedger(ledger: AgentLedger): void {
    const { seen, sampledOut, filtered, looped, upgrade, unreplayable, unusable, dropped } = ledger;
    const counts = new Map<string, number>(
      Object.entries({ seen, sampledOut, filtered, looped, upgrade, dropped: dropped.get("buffer full") ?? 0 }),
    );
    for (const [reason, count] of [...unreplayable, ...unusable]) counts.set(reason, count);
    for (const name of new Set([...counts.keys(), ...this.#counts.keys()])) {
      const [found, right] = [counts.get(name) ?? 0, this.#counts.get(name as Count) ?? 0];
      if (found !== right) throw new Error(`the ledger has ${found} requests as ${name} instead of ${right}`);
    }
    this.#checkOmitted(ledger.omittedBodies);
    if (ledger.pending !== this.#waiting.length) {
      throw new Error(`${ledger.pending} requests are being packed instead of ${this.#waiting.length}`);
    }
  }

  #checkOmitted(omitted: ReadonlyMap<string, number>): void {
    for (const reason of new Set([...omitted.keys(), ...this.#omitted.keys()])) {
      const [found, right] = [omitted.get(reason) ?? 0, this.#omitted.get(reason) ?? 0];
      if (found < right || found > right + this.#unknownOmissions) {
        throw new Error(`${found} bodies were left out as ${reason} instead of ${right}`);
      }
      this.#omitted.set(reason, found);
    }
    this.#unknownOmissions = 0;
  }

  #count(name: Count): void {
    addOne(this.#counts, name);
  }
}

/** Says in which part a packed request is another than it should be. */
function findDifference(record: PackedRecord, expected: Expectation, index: number, atMs: number): string | undefined {
  const { request, path, headers, body, bodyState, outcome } = expected;
  const { id, method, version, src, srcIsAddress } = request;
  const right = { index, capturedAtMs: atMs, id, method, path, version, src, srcIsAddress, headers, body, bodyState };
  const parts = Object.keys(right) as (keyof typeof right)[];
  const part = parts.find((name) => !isAs(record[name], right[name]));
  if (part !== undefined) return describe(`the ${part} of a request`, record[part], right[part]);
  if (!record.outcome || !outcome) {
    return record.outcome === outcome ? undefined : describe("the outcome of a request", record.outcome, outcome);
  }
  for (const name of ["status", "timeMs", "bytes", "digest"] as const) {
    if (record.outcome[name] !== outcome[name]) return describe(name, record.outcome[name], outcome[name]);
  }
  const [sent, packed] = [request.outcome?.headers !== undefined, record.outcome.headers];
  const isRight = sent ? packed !== undefined && isAs(packed, outcome.headers) : packed === undefined;
  return isRight ? undefined : describe("the headers of an answer", packed, outcome.headers);
}

/** Whether all that is known is right. */
function isAs(found: unknown, right: unknown): boolean {
  if (right === undefined || found === right) return true;
  if (!Array.isArray(found) || !Array.isArray(right)) return false;
  return found.length === right.length && right.every((part, i) => part === undefined || part === found[i]);
}

function headOf({ records, ...head }: PackContent): Omit<PackContent, "records"> {
  return head;
}

function assertSame(what: string, found: object, right: object): void {
  const [one, other] = [found, right].map((value) => JSON.stringify(Object.entries(value).sort()));
  if (one !== other) throw new Error(describe(what, one, other));
}

function describe(what: string, found: unknown, right: unknown): string {
  return `${what} is ${JSON.stringify(found)} instead of ${JSON.stringify(right)}`;
}

function addOne<K>(counts: Map<K, number>, name: K): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function toIso(ms: number): string {
  return new Date(ms).toISOString();
}
