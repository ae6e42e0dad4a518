import { maxPackRequests } from "../pack/pack.ts";
import type { Fate, Settlement } from "./port.ts";

/**
 * What became of one pack's requests at one target: a byte a request, 0 for one without a fate. A bit would do to count
 * each request once, but not to take back a fate twice without harm to the one that came after it.
 */
export type FateSheet = Uint8Array;

/** Adds fates to those that have none. Returns the new sheet and how many requests got each fate. */
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

/** Takes a fate back from those that have it. Returns the new sheet and from how many requests it was taken. */
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

/** How many requests have a fate that nobody will take back, as a dead letter's is when it is sent again. */
export function countFinal(sheet: FateSheet): number {
  return sheet.reduce((count, code) => count + (code !== 0 && code !== codes.deadLettered ? 1 : 0), 0);
}

// They stand in files: a fate keeps its number for ever.
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
};
