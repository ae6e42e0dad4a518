import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketOf, maxRelativeError, percentiles } from "../../relay/latency-histogram.ts";

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
  ])("takes %d for the nearest it knows", (ms, name) => {
    expect(bucketOf(ms)).toBe(name);
  });

  it("gives a time the same name for ever", () => {
    expect([0.11, 1, 10, 250, 10_000].map(bucketOf)).toEqual(["l1", "l24", "l47", "l80", "l117"]);
  });
});

describe("percentiles", () => {
  it("are those of a sorted list, within the relative error", () => {
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

  it("of two histograms are those of their sum", () => {
    const fast = Array.from({ length: 99 }, () => 10);
    const merged = count([...fast, 2_000]);

    const [p50, p99, most] = percentiles(merged, [0.5, 0.99, 1]);
    expect([p50, p99]).toEqual([9.943, 9.943]);
    expect(most).toBe(percentiles(count([2_000]), [0.5])[0]);
  });

  it("are unknown where nothing was counted", () => {
    const others = new Map([
      ["answered.2xx", 5],
      ["l999", 1],
      ["late", 1],
      ["l3", 0],
    ]);
    expect(percentiles(others, [0.5, 0.9])).toEqual([undefined, undefined]);
  });
});

function count(times: readonly number[]): ReadonlyMap<string, number> {
  return new Map(Array.from(Map.groupBy(times, bucketOf), ([name, all]) => [name, all.length]));
}
