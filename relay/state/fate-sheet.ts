import { maxPackRequests } from "../pack/pack.ts";
import type { Fate, Settlement } from "./port.ts";

/**
 * The fates of one pack's requests at one target: one byte per request, 0 for a request without a fate. One bit would be
 * enough to count each request once; but then withdrawing a fate twice would also remove the fate that followed it.
 */
export type FateSheet = Uint8Array;

/** Notes fates of requests that have none. Returns the new sheet, and how many requests received each fate. */
export function noteFates(
  sheet: FateSheet,
  settlement: Settlement,
): { readonly sheet: FateSheet; readonly noted: ReadonlyMap<Fate, number> } {
  const noted = new Map<Fate, number>();
  let length = sheet.length;
  for (const index of settlement.keys()) {
    if (!(Number.isInteger(index) && index >= 0 && index < maxPackRequests)) {
      throw new RangeError(`${index} is not the index of a request: a pack has at most ${maxPackRequests} requests`);
    }
    length = Math.max(length, index + 1);
  }
  const next = new Uint8Array(length);
  next.set(sheet);
  for (const [index, fate] of settlement) {
    if (next[index] !== 0) continue;
    next[index] = codes[fate];
    noted.set(fate, (noted.get(fate) ?? 0) + 1);
  }
  return { sheet: next, noted };
}

/** Withdraws a fate from the requests that have it. Returns the new sheet and the number of these requests. */
export function withdrawFate(
  sheet: FateSheet,
  indexes: readonly number[],
  fate: Fate,
): { readonly sheet: FateSheet; readonly withdrawn: number } {
  const next = Uint8Array.from(sheet);
  let withdrawn = 0;
  for (const index of indexes) {
    if (next[index] !== codes[fate]) continue;
    next[index] = 0;
    withdrawn++;
  }
  return { sheet: next, withdrawn };
}

export function settledIndexes(sheet: FateSheet): ReadonlySet<number> {
  const indexes = new Set<number>();
  sheet.forEach((code, index) => {
    if (code !== 0) indexes.add(index);
  });
  return indexes;
}

/** Number of requests with a final fate. `deadLettered` is not final: it is withdrawn if the dead letter is sent again. */
export function countFinal(sheet: FateSheet): number {
  return sheet.reduce((count, code) => count + (code !== 0 && code !== codes.deadLettered ? 1 : 0), 0);
}

// Stored in files and tables: the number of a fate must never change.
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
  "answered.malformed": 13,
};
