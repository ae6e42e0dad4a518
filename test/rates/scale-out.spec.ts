import { describe, expect, it } from "vitest";
import { simulate } from "../simulation/rate-point.ts";
import { Crew, type CrewOptions } from "./crew.ts";
import { boundOf, meanRate, mostWithin } from "./rate-figures.ts";

const seconds = 20;
// A rate is reached within three seconds, and the processes need the cores for two more before they are warm.
const warmUpUs = 5_000_000;
// What the way to the shadow may cost.
const tolerance = 0.02;

interface Point extends CrewOptions {
  readonly concurrency: number;
  readonly latencyMs: number;
  /** To the store, as far as the simulation is concerned. */
  readonly roundTripMs: number;
}

const points: readonly Point[] = [
  { engine: "embedded", workers: 6, ratePerSecond: 400, concurrency: 8, latencyMs: 100, roundTripMs: 0.1 },
  { engine: "aws", workers: 12, ratePerSecond: 500, concurrency: 64, latencyMs: 1_000, roundTripMs: 6 },
  { engine: "aws", workers: 12, ratePerSecond: 100, concurrency: 1, latencyMs: 50, roundTripMs: 6 },
  { engine: "embedded", workers: 4, ratePerSecond: 120, concurrency: 8, latencyMs: 200, roundTripMs: 0.1 },
];

describe("workers in processes of their own reach what the simulation says", () => {
  it.each(points)("$ratePerSecond/s, $workers × $engine × $concurrency, $latencyMs ms", async (point) => {
    const { engine, workers, ratePerSecond, concurrency, latencyMs, roundTripMs } = point;
    const simulated = await simulate({ ratePerSecond, workers, concurrency, latencyMs, roundTripMs });
    const possible = Math.min(ratePerSecond, (workers * concurrency * 1_000) / latencyMs);
    const requests = Math.ceil(possible * (seconds + 7));
    const crew = await Crew.start({ ...point, requestsOfPack: 100 }, requests + workers * 1_000);
    await crew.go();
    await crew.arrived(requests, (seconds + 7) * 2_000 + 10_000);
    const { arrivals } = await crew.report();

    // By the shadow's own clock.
    const arrivedUs = arrivals.map(([, , atUs]) => atUs);
    const sentUs = arrivals.map(([, sentAtUs]) => sentAtUs);
    const achieved = meanRate(arrivedUs, seconds, warmUpUs);
    console.log(
      `${workers} × ${engine}, ${ratePerSecond}/s, ${concurrency} in flight, ${latencyMs} ms: ${achieved.toFixed(1)}/s arrived of ${possible}/s possible; simulated ${(simulated.achieved * possible).toFixed(1)}/s; at most ${mostWithin(sentUs, 1e6)} sent in a second`,
    );
    expect(simulated.achieved).toBeGreaterThanOrEqual(0.99);
    expect(achieved / possible).toBeGreaterThanOrEqual(1 - tolerance);
    expect(achieved / possible).toBeLessThanOrEqual(simulated.achieved + tolerance);
    for (const windowUs of [1e6, 1e5]) {
      expect(mostWithin(sentUs, windowUs)).toBeLessThanOrEqual(boundOf(ratePerSecond, windowUs));
    }
  });
});
