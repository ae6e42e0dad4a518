import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maxLateUs } from "../../relay/state/slot-round.ts";
import { seededRandom } from "../support/data/seeded-random.ts";
import { type RatePoint, simulate } from "./rate-point.ts";
import { mostAbove, type Send, SimulatedCrew } from "./simulated-crew.ts";

// A small part of the grid that `npm run simulate:rates` prints.
const points: readonly RatePoint[] = [
  { ratePerSecond: 1, workers: 1, concurrency: 1, latencyMs: 50, roundTripMs: 6 },
  { ratePerSecond: 1, workers: 16, concurrency: 8, latencyMs: 1_000, roundTripMs: 90 },
  { ratePerSecond: 10, workers: 4, concurrency: 8, latencyMs: 1_000, roundTripMs: 160 },
  { ratePerSecond: 10, workers: 16, concurrency: 1, latencyMs: 1_000, roundTripMs: 6 },
  { ratePerSecond: 100, workers: 64, concurrency: 8, latencyMs: 50, roundTripMs: 90 },
  { ratePerSecond: 100, workers: 16, concurrency: 64, latencyMs: 1_000, roundTripMs: 6 },
  { ratePerSecond: 400, workers: 6, concurrency: 8, latencyMs: 100, roundTripMs: 0.1 },
  { ratePerSecond: 500, workers: 12, concurrency: 64, latencyMs: 1_000, roundTripMs: 6 },
  { ratePerSecond: 1_000, workers: 16, concurrency: 64, latencyMs: 1_000, roundTripMs: 160 },
  { ratePerSecond: 100, workers: 4, concurrency: 64, latencyMs: 10_000, roundTripMs: 160 },
  { ratePerSecond: 1_000, workers: 16, concurrency: 64, latencyMs: 10_000, roundTripMs: 6 },
  { ratePerSecond: 10_000, workers: 16, concurrency: 8, latencyMs: 10_000, roundTripMs: 90 },
  { ratePerSecond: 1_000, workers: 1, concurrency: 1, latencyMs: 1, roundTripMs: 6 },
  { ratePerSecond: 1_000, workers: 64, concurrency: 8, latencyMs: 50, roundTripMs: 6 },
];
const pointsWithManyWorkers: readonly RatePoint[] = [
  { ratePerSecond: 1, workers: 300, concurrency: 8, latencyMs: 50, roundTripMs: 6 },
  { ratePerSecond: 1_000, workers: 300, concurrency: 8, latencyMs: 1_000, roundTripMs: 6 },
];
const clockErrorUs = 50_000;
const secondUs = 1_000_000;

describe("workers that share a rate", () => {
  it.each(points)(
    "reach $ratePerSecond/s: $workers × $concurrency, $latencyMs ms, $roundTripMs ms to the store",
    async (point) => {
      const { achieved, kept, writes, refused, fewest, most } = await simulate(point);

      expect(achieved).toBeGreaterThanOrEqual(0.99);
      expect(kept).toBe(true);
      expect(writes).toBeLessThanOrEqual(60);
      expect(refused).toBe(0);
      if (point.ratePerSecond >= 100) expect([fewest > 0.8, most < 1.2]).toEqual([true, true]);
    },
  );

  it.each(pointsWithManyWorkers)(
    "write 60 times a second at most: $workers workers at $ratePerSecond/s",
    async (point) => {
      const { achieved, kept, writes, refused } = await simulate(point);

      expect(achieved).toBeGreaterThanOrEqual(0.99);
      expect(kept).toBe(true);
      expect(writes).toBeLessThanOrEqual(60);
      expect(refused).toBe(0);
    },
  );

  it("never exceed the rate, whoever comes, goes, freezes and dies, and reach it again afterwards", async () => {
    const event = fc.record({
      kind: fc.constantFrom("comes", "goes", "freezes", "store fails", "rate changes"),
      atMs: fc.integer({ min: 0, max: 15_000 }),
      who: fc.nat(100),
      forMs: fc.integer({ min: 1, max: 8_000 }),
    });
    const setup = fc.record({
      seed: fc.integer(),
      workers: fc.integer({ min: 1, max: 8 }),
      ratePerSecond: fc.constantFrom<number>(5, 40, 150),
      roundTripMs: fc.constantFrom(0.1, 6, 90, 160),
      events: fc.array(event, { maxLength: 10 }),
    });
    await fc.assert(
      fc.asyncProperty(setup, async ({ seed, workers, ratePerSecond, roundTripMs, events }) => {
        const random = seededRandom(seed);
        const latencyUs = () => 1_000 + random() ** 8 * 1_000_000;
        const options = { ratePerSecond, concurrency: 64, latencyUs, roundTripUs: roundTripMs * 1_000, random };
        const crew = new SimulatedCrew(options);
        const clockAheadUs = () => (2 * random() - 1) * clockErrorUs;
        const crewNow = Array.from({ length: workers }, () => crew.add(clockAheadUs()));
        // The rate is raised in the middle: the bound is that of the highest rate.
        let highest: number = ratePerSecond;
        for (const { kind, atMs, who, forMs } of events.toSorted((a, b) => a.atMs - b.atMs)) {
          await crew.clock.runUntil(Math.max(crew.clock.nowUs(), crew.startUs + atMs * 1_000));
          const worker = crewNow[who % crewNow.length];
          if (kind === "comes") crewNow.push(crew.add(clockAheadUs()));
          else if (kind === "goes" && crewNow.length > 1) crew.stop(crewNow.splice(who % crewNow.length, 1)[0]);
          else if (kind === "freezes") crew.freeze(worker, crew.clock.nowUs() + forMs * 1_000);
          else if (kind === "rate changes") {
            crew.ratePerSecond = ratePerSecond * (who % 2 === 0 ? 2 : 0.5);
            highest = Math.max(highest, crew.ratePerSecond);
          } else if (kind === "store fails") {
            crew.rounds.away = true;
            await crew.clock.runUntil(crew.clock.nowUs() + forMs * 1_000);
            crew.rounds.away = false;
          }
        }
        // Until the last frozen worker has thawed, and all have noticed.
        const restUs = crew.clock.nowUs() + 12 * secondUs;
        await crew.clock.runUntil(restUs);
        const sent = crew.sends.length;
        await crew.clock.runUntil(restUs + 10 * secondUs);
        crew.end();

        expect(mostAbove(crew.sends, highest)).toBeLessThanOrEqual(allowance(highest));
        expect(crew.sends.length - sent).toBeGreaterThan(0.97 * 10 * crew.ratePerSecond - 2);
      }),
      { numRuns: Number(process.env.RELAY_TEST_RATE_RUNS ?? 40) },
    );
  });

  it("take over from half of the workers within three seconds", async () => {
    const crew = crewOf({ ratePerSecond: 200, concurrency: 64, latencyMs: 50 });
    const workers = Array.from({ length: 16 }, () => crew.add());
    await crew.clock.runUntil(crew.startUs + 5 * secondUs);
    for (const worker of workers.slice(8)) crew.freeze(worker, Number.MAX_SAFE_INTEGER);
    await crew.clock.runUntil(crew.startUs + 20 * secondUs);
    crew.end();

    const after = within(crew.sends, crew.startUs + 8 * secondUs, crew.startUs + 20 * secondUs);
    expect(after.length / 12 / 200).toBeGreaterThanOrEqual(0.99);
    expect(mostAbove(crew.sends, 200)).toBeLessThanOrEqual(allowance(200));
  });

  it("use the capacity of workers that come within three seconds", async () => {
    const crew = crewOf({ ratePerSecond: 1_000, concurrency: 8, latencyMs: 100 });
    crew.add();
    await crew.clock.runUntil(crew.startUs + 5 * secondUs);
    for (let i = 0; i < 15; i++) crew.add();
    await crew.clock.runUntil(crew.startUs + 20 * secondUs);
    crew.end();

    const alone = within(crew.sends, crew.startUs + 3 * secondUs, crew.startUs + 5 * secondUs);
    const after = within(crew.sends, crew.startUs + 8 * secondUs, crew.startUs + 20 * secondUs);
    expect(alone.length / 2).toBeGreaterThanOrEqual(79);
    expect(after.length / 12 / 1_000).toBeGreaterThanOrEqual(0.99);
  });

  it("send no burst after all of them were frozen", async () => {
    const crew = crewOf({ ratePerSecond: 100, concurrency: 64, latencyMs: 1 });
    const workers = Array.from({ length: 8 }, () => crew.add());
    await crew.clock.runUntil(crew.startUs + 5 * secondUs);
    for (const worker of workers) crew.freeze(worker, crew.startUs + 12 * secondUs);
    await crew.clock.runUntil(crew.startUs + 20 * secondUs);
    crew.end();

    expect(mostAbove(crew.sends, 100)).toBeLessThanOrEqual(allowance(100));
    expect(within(crew.sends, crew.startUs + 5.1 * secondUs, crew.startUs + 12 * secondUs)).toEqual([]);
  });
});

/** What the bound allows above rate * W. */
function allowance(ratePerSecond: number): number {
  return (ratePerSecond * (2 * clockErrorUs + maxLateUs)) / 1e6 + 1.001;
}

function crewOf(options: {
  readonly ratePerSecond: number;
  readonly concurrency: number;
  readonly latencyMs: number;
}): SimulatedCrew {
  const { ratePerSecond, concurrency, latencyMs } = options;
  const latencyUs = () => latencyMs * 1_000;
  return new SimulatedCrew({ ratePerSecond, concurrency, latencyUs, roundTripUs: 6_000, random: seededRandom(5) });
}

function within(sends: readonly Send[], fromUs: number, untilUs: number): readonly Send[] {
  return sends.filter(({ atUs }) => atUs >= fromUs && atUs < untilUs);
}
