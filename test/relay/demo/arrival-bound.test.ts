import { describe, expect, it } from "vitest";
import { arrivalBound, countEarly } from "../../../relay/demo/arrival-bound.ts";
import { mostInWindow } from "../../../relay/demo/arrival-plot.ts";

const fromMs = 1_000.5;

describe("countEarly", () => {
  it("is 0 if the rate is kept, however late the requests arrive", () => {
    const late = everyMs(10, 500).map((timeMs, i) => timeMs + (i % 7) * 30);

    expect(countEarly(everyMs(10, 500), fromMs, 100)).toBe(0);
    expect(countEarly(late, fromMs, 100)).toBe(0);
  });

  it("detects a rate that is 1 % too high", () => {
    expect(countEarly(everyMs(9.9, 500), fromMs, 100)).toBeGreaterThan(400);
  });

  it("detects a burst at the start, after which the rate is kept", () => {
    const times = [...everyMs(0, 25), ...everyMs(10, 475)];

    expect(countEarly(times, fromMs, 100)).toBeGreaterThan(450);
  });
});

describe("arrivalBound", () => {
  it("holds if the rate is kept, also if the receiver stalls", () => {
    const stalled = everyMs(10, 500).map((timeMs) => (timeMs > 2_000 && timeMs < 2_500 ? 2_500 : timeMs));

    expect(mostInWindow(everyMs(10, 500), 1_000)).toBeLessThanOrEqual(arrivalBound(100, 1_000, 0));
    expect(mostInWindow(stalled, 1_000)).toBeLessThanOrEqual(arrivalBound(100, 1_000, 500));
  });

  it("is exceeded if the sender makes up for a stall of a second", () => {
    const burst = everyMs(10, 500).map((timeMs) => (timeMs > 2_000 && timeMs < 3_000 ? 3_000 : timeMs));

    expect(mostInWindow(burst, 1_000)).toBeGreaterThan(arrivalBound(100, 1_000, 0));
    expect(mostInWindow(burst, 100)).toBeGreaterThan(arrivalBound(100, 100, 200));
  });
});

/** Arrivals at this interval, the first at `fromMs`. */
function everyMs(distanceMs: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => fromMs + i * distanceMs);
}
