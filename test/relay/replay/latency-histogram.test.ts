import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketOf, maxRelativeError, percentiles } from "../../../relay/replay/latency-histogram.ts";

const latency = fc.double({ min: 0.1, max: 900_000, noNaN: true });

describe("bucketOf", () => {
  it("has fewer than 170 buckets, without a gap", () => {
    const names = new Set<string>();
    for (let ms = 0.1; ms <= 900_000; ms *= 1.01) names.add(bucketOf(ms));
    names.add(bucketOf(900_000));

    expect([...names]).toEqual(Array.from(names, (_, i) => `l${i}`));
    expect(names.size).toBeLessThan(170);
  });

  it.each([
    [0, "l0"],
    [-1, "l0"],
    [Number.NaN, "l0"],
    [0.1, "l0"],
    [900_000, "l162"],
    [Number.POSITIVE_INFINITY, "l162"],
  ])("counts %d in the nearest bucket", (ms, name) => {
    expect(bucketOf(ms)).toBe(name);
  });

  it("always gives a time the same name", () => {
    expect([0.11, 1, 10, 250, 10_000].map((ms) => bucketOf(ms))).toEqual(["l1", "l24", "l47", "l80", "l117"]);
  });
});

describe("percentiles", () => {
  it("equal those of a sorted list, within the relative error", () => {
    fc.assert(
      fc.property(
        fc.array(latency, { minLength: 1, maxLength: 200 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (times, share) => {
          const sorted = times.toSorted((a, b) => a - b);
          const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1];
          const [found = Number.NaN] = percentiles(count(times), [share]);

          expect(Math.abs(found - exact) / exact).toBeLessThanOrEqual(maxRelativeError);
        },
      ),
    );
  });

  it("of two histograms are the percentiles of their sum", () => {
    const fast = Array.from({ length: 99 }, () => 10);
    const merged = count([...fast, 2_000]);

    const [p50, p99, most] = percentiles(merged, [0.5, 0.99, 1]);
    expect([p50, p99]).toEqual([9.943, 9.943]);
    expect(most).toBe(percentiles(count([2_000]), [0.5])[0]);
  });

  it("are unknown if nothing was counted", () => {
    const others = new Map([
      ["answered.2xx", 5],
      ["l999", 1],
      ["late", 1],
      ["l3", 0],
    ]);
    expect(percentiles(others, [0.5, 0.9])).toEqual([undefined, undefined]);
  });
});

describe("the series", () => {
  it("are counted in one map without sharing a counter", () => {
    const all = ["latency", "firstByte", "connect", "age"] as const;
    const counts = new Map(all.map((series, i) => [bucketOf(10 ** (i + 1), series), 1]));

    expect([...counts.keys()]).toEqual(["l47", "f70", "c94", "a117"]);
    all.forEach((series, i) => {
      const [p50 = Number.NaN] = percentiles(counts, [0.5], series);
      expect(Math.abs(p50 / 10 ** (i + 1) - 1)).toBeLessThanOrEqual(maxRelativeError);
    });
  });

  it("include ages of years, and negative ages of requests from the future", () => {
    const yearMs = 365 * 86_400_000;
    const [p50 = Number.NaN] = percentiles(new Map([[bucketOf(yearMs, "age"), 1]]), [0.5], "age");

    expect(Math.abs(p50 / yearMs - 1)).toBeLessThanOrEqual(maxRelativeError);
    expect([bucketOf(-5, "age"), bucketOf(1e300, "age")]).toEqual(["a0", "a291"]);
  });
});

function count(times: readonly number[]): ReadonlyMap<string, number> {
  return new Map(
    Array.from(
      Map.groupBy(times, (ms) => bucketOf(ms)),
      ([name, all]) => [name, all.length],
    ),
  );
}
