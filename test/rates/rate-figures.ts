import { maxLateUs } from "../../relay/state/slot-round.ts";

/** The bound that a rate promises: no window of `windowUs` has more sends than this. */
export function boundOf(
  ratePerSecond: number,
  windowUs: number,
  options: { readonly clockDifferenceUs?: number; readonly stallUs?: number } = {},
): number {
  const { clockDifferenceUs = 0, stallUs = 0 } = options;
  return Math.floor((ratePerSecond * (windowUs + 2 * clockDifferenceUs + maxLateUs + stallUs)) / 1e6 + 1);
}

/** The largest number of times in any window of that length. */
export function mostWithin(timesUs: readonly number[], windowUs: number): number {
  const sorted = [...timesUs].sort((a, b) => a - b);
  let most = 0;
  let first = 0;
  sorted.forEach((timeUs, last) => {
    while (timeUs - sorted[first] >= windowUs) first++;
    most = Math.max(most, last - first + 1);
  });
  return most;
}

/** The mean rate over `seconds`, starting `afterUs` after the first of the times. */
export function meanRate(timesUs: readonly number[], seconds: number, afterUs: number): number {
  const fromUs = timesUs.reduce((least, timeUs) => Math.min(least, timeUs), Number.POSITIVE_INFINITY) + afterUs;
  const within = timesUs.filter((timeUs) => timeUs >= fromUs && timeUs < fromUs + seconds * 1e6);
  return within.length / seconds;
}
