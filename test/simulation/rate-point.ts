import { maxLateUs } from "../../relay/state/slot-round.ts";
import { seededRandom } from "../support/data/seeded-random.ts";
import { mostAbove, SimulatedCrew } from "./simulated-crew.ts";

/** A point of the grid. */
export interface RatePoint {
  readonly ratePerSecond: number;
  readonly workers: number;
  readonly concurrency: number;
  /** `heavy`: log-normal, median 50 ms, mean 154 ms, one in a hundred above 1.6 s. */
  readonly latencyMs: number | "heavy";
  readonly roundTripMs: number;
}

export interface RateResult {
  /** The smaller of rate and capacity, in requests a second. Capacity is workers * concurrency / mean latency. */
  readonly possible: number;
  /** The share of that which was sent. */
  readonly achieved: number;
  /** Whether no window of any length had more sends than rate * (W + 2ε + J) + 1. */
  readonly kept: boolean;
  /** To the store, each second. */
  readonly writes: number;
  readonly refused: number;
  readonly reads: number;
  /** What the worker with the fewest and the most sends has sent, against the mean. */
  readonly fewest: number;
  readonly most: number;
}

/** The largest distance of a clock from the true time. */
const clockErrorUs = 50_000;
const warmUpUs = 3_000_000;
const heavyMedianUs = 50_000;
const heavySpread = 1.5;
const longestAnswerUs = 30_000_000;

/** Runs the workers of one point, which all start within 0.2 s, and measures after the first three seconds. */
export async function simulate(point: RatePoint, seed = 1): Promise<RateResult> {
  const { ratePerSecond, workers, concurrency, latencyMs, roundTripMs } = point;
  const random = seededRandom(seed);
  const latencyUs = latencyMs === "heavy" ? () => heavyLatencyUs(random) : () => latencyMs * 1_000;
  const crew = new SimulatedCrew({ ratePerSecond, concurrency, latencyUs, roundTripUs: roundTripMs * 1_000, random });
  for (let worker = 0; worker < workers; worker++) {
    crew.add((2 * random() - 1) * clockErrorUs, crew.startUs + random() * 200_000);
  }
  // With answers after 10 s, the first ten seconds only fill the permits.
  const fromUs = crew.startUs + warmUpUs + (latencyMs === "heavy" || latencyMs < 5_000 ? 0 : latencyMs * 1_000);
  const seconds = secondsOf(point);
  await crew.clock.runUntil(fromUs + seconds * 1e6);
  crew.end();
  const sends = crew.sends.filter(({ atUs }) => atUs >= fromUs);
  const meanUs = crew.latenciesUs / crew.sends.length;
  const possible = Math.min(ratePerSecond, (workers * concurrency * 1e6) / meanUs);
  const perSecond = (timesUs: readonly number[]) => timesUs.filter((atUs) => atUs >= fromUs).length / seconds;
  const counts = Array.from({ length: workers }, () => 0);
  for (const { worker } of sends) counts[worker]++;
  const meanCount = sends.length / workers;
  return {
    possible,
    achieved: sends.length / seconds / possible,
    kept: mostAbove(crew.sends, ratePerSecond) <= (ratePerSecond * (2 * clockErrorUs + maxLateUs)) / 1e6 + 1.001,
    writes: perSecond(crew.rounds.writesUs),
    refused: perSecond(crew.rounds.refusalsUs),
    reads: perSecond(crew.rounds.readsUs),
    fewest: Math.min(...counts) / meanCount,
    most: Math.max(...counts) / meanCount,
  };
}

/** Long enough for a hundred slots, for ten of the longest answers, and for the spread of random ones. */
function secondsOf({ ratePerSecond, latencyMs }: RatePoint): number {
  if (latencyMs === "heavy") return Math.max(60, 100 / ratePerSecond);
  return Math.max(12, 100 / ratePerSecond, latencyMs / 100);
}

function heavyLatencyUs(random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.min(longestAnswerUs, heavyMedianUs * Math.exp(heavySpread * normal));
}
