/**
 * Largest relative error of a percentile, from 0.1 ms to the longest time of its series. Times outside that range count as
 * the nearest time inside it.
 */
export const maxRelativeError = 0.05;

/** The durations that are measured. Each series has its own counter names, so one map holds the counters of all series. */
export type TimeSeries =
  /** From the moment a request is given to the transport to the end of its answer: up to 15 minutes. */
  | "latency"
  /** From the moment a request is written to the headers of its answer: up to 15 minutes. */
  | "firstByte"
  /** Opening a connection, with DNS and TLS: up to 15 minutes. */
  | "connect"
  /** From the capture of a request to its sending: up to ten years. */
  | "age";

// Ratio of the upper bounds of two neighbouring buckets. A bucket's value is off by at most (growth - 1) / (growth + 1),
// which is 4.95 %; the rest of the 5 % is for rounding.
const growth = 1.104;
const leastMs = 0.1;
const quarterOfAnHourMs = 900_000;
const tenYearsMs = 315_576_000_000;

const series: Readonly<Record<TimeSeries, SeriesNames>> = {
  latency: toNames("l", quarterOfAnHourMs),
  firstByte: toNames("f", quarterOfAnHourMs),
  connect: toNames("c", quarterOfAnHourMs),
  age: toNames("a", tenYearsMs),
};

/**
 * The counter of a time: `l0` for a latency of up to 0.1 ms, `l162` for about 15 minutes; `f…`, `c…` and `a…` in the other
 * series. A time has the same name in every process and version, so histograms are merged by adding their counters.
 */
export function bucketOf(ms: number, of: TimeSeries = "latency"): string {
  const { buckets } = series[of];
  return buckets[ms > leastMs ? Math.min(buckets.length - 1, indexOf(ms)) : 0];
}

/**
 * The times in milliseconds that these shares (0 to 1) of the counted times do not exceed, to four digits; undefined if
 * nothing was counted. Counters with other names are ignored.
 */
export function percentiles(
  counts: ReadonlyMap<string, number>,
  shares: readonly number[],
  of: TimeSeries = "latency",
): (number | undefined)[] {
  const { indexes } = series[of];
  const buckets: { readonly index: number; readonly count: number }[] = [];
  let total = 0;
  for (const [name, count] of counts) {
    const index = indexes.get(name);
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

/** The number of times counted in a series. */
export function timesCounted(counts: ReadonlyMap<string, number>, of: TimeSeries): number {
  const { indexes } = series[of];
  let total = 0;
  for (const [name, count] of counts) if (indexes.has(name)) total += count;
  return total;
}

function indexOf(ms: number): number {
  return Math.ceil(Math.log(ms / leastMs) / Math.log(growth));
}

/** Computed once per series, because every request looks them up. */
interface SeriesNames {
  readonly buckets: readonly string[];
  readonly indexes: ReadonlyMap<string, number>;
}

function toNames(prefix: string, mostMs: number): SeriesNames {
  const buckets = Array.from({ length: indexOf(mostMs) + 1 }, (_, index) => `${prefix}${index}`);
  return { buckets, indexes: new Map(buckets.map((name, index) => [name, index])) };
}

/** The value with the same relative distance to both bounds of the bucket. */
function midpointOf(index: number): number {
  if (index === 0) return leastMs;
  return Number(((2 * leastMs * growth ** index) / (growth + 1)).toPrecision(4));
}
