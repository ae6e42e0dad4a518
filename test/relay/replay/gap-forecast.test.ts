import { describe, expect, it } from "vitest";
import { GapForecast } from "../../../relay/replay/gap-forecast.ts";

describe("GapForecast", () => {
  it("knows nothing at first", () => {
    expect(new GapForecast().after(0)).toBe(undefined);
  });

  it("expects a gap as long as the last ones, to a quarter, and nothing once it has lasted longer", () => {
    const gaps = new GapForecast();
    for (let i = 0; i < 10; i++) gaps.note(1_000_000 + 1_000 * i);

    expect(gaps.after(0)).toBeGreaterThan(790_000);
    expect(gaps.after(500_000)).toBeLessThanOrEqual(1_000_000);
    expect(gaps.after(1_300_000)).toBe(undefined);
  });

  it("expects the pause after a burst of events that follow each other at once", () => {
    const gaps = new GapForecast();
    for (let burst = 0; burst < 3; burst++) {
      gaps.note(9_000_000);
      for (let i = 0; i < 63; i++) gaps.note(20);
    }

    expect(gaps.after(20_000)).toBeGreaterThan(7_000_000);
    expect(gaps.after(20_000)).toBeLessThanOrEqual(9_000_000);
  });

  it("forgets gaps that have not been seen for long", () => {
    const gaps = new GapForecast();
    gaps.note(9_000_000);
    for (let i = 0; i < 1_000; i++) gaps.note(50_000);

    expect(gaps.after(100_000)).toBe(undefined);
  });
});
