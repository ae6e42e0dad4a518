/** Largest relative error of a percentile, for times from 0.1 ms to 15 minutes; what lies outside counts as the nearest. */
export const maxRelativeError = 0.05;

// Each bucket ends so many times later than the one before it. A bucket's value is off by (growth - 1) / (growth + 1) at
// most, 4.95 %, and the rest is for rounding.
const growth = 1.104;
const leastMs = 0.1;
const mostMs = 900_000;
const lastBucket = indexOf(mostMs);

/**
 * The counter that a time falls into: `l0` for up to 0.1 ms, `l162` for about 15 minutes. The names are the same in every
 * process and for ever, so that histograms are merged by adding the counters.
 */
export function bucketOf(ms: number): string {
  return `l${ms > leastMs ? Math.min(lastBucket, indexOf(ms)) : 0}`;
}

/**
 * The times in milliseconds that these shares (0 to 1) of what was counted do not exceed, to four digits; undefined where
 * nothing was counted. Counters with other names are passed over.
 */
export function percentiles(counts: ReadonlyMap<string, number>, shares: readonly number[]): (number | undefined)[] {
  const buckets: { readonly index: number; readonly count: number }[] = [];
  let total = 0;
  for (const [name, count] of counts) {
    const index = parseBucket(name);
    if (index === undefined || !(count > 0)) continue;
    buckets.push({ index, count });
    total += count;
  }
  buckets.sort((a, b) => a.index - b.index);
  return shares.map((share) => {
    let left = Math.max(1, Math.ceil(share * total));
    for (const { index, count } of buckets) {
      left -= count;
      if (left <= 0) return midpointOf(index);
    }
    return undefined;
  });
}

function indexOf(ms: number): number {
  return Math.ceil(Math.log(ms / leastMs) / Math.log(growth));
}

function parseBucket(name: string): number | undefined {
  const index = /^l\d{1,3}$/.test(name) ? Number(name.slice(1)) : Number.NaN;
  return index <= lastBucket ? index : undefined;
}

/** As far, relatively, from the bucket's start as from its end. */
function midpointOf(index: number): number {
  if (index === 0) return leastMs;
  return Number(((2 * leastMs * growth ** index) / (growth + 1)).toPrecision(4));
}
