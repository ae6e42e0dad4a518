import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Clock } from "../../../relay/clock.ts";
import { bounds } from "../../../relay/config/bounds.ts";
import { Pacer } from "../../../relay/replay/pacer.ts";
import { StateError } from "../../../relay/state/port.ts";
import { maxLateUs } from "../../../relay/state/slot-round.ts";
import { mostAbove } from "../../simulation/simulated-crew.ts";
import { SimulatedRounds } from "../../simulation/simulated-rounds.ts";
import { ManualClock } from "../../support/clocks/manual-clock.ts";
import { fixedRate } from "../../support/data/lanes.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";

const startUs = 1_790_000_000_000_000;
const secondUs = 1_000_000;
const dayUs = 86_400 * secondUs;
// Each worker waits this long for an answer, so it sends 250 times a second at most.
const answerUs = 4_000;
// What a worker does after an error of the state.
const retryUs = 100_000;
const { least, most } = bounds.ratePerSecond;
const anyRate = fc.oneof(
  fc.double({ min: Math.log(least), max: Math.log(most), noNaN: true }).map(Math.exp),
  fc.constantFrom<number>(least, most),
);
const jump = fc.record({
  afterMs: fc.integer({ min: 1, max: 2_000 }),
  byUs: fc.oneof(
    fc.integer({ min: -secondUs, max: secondUs }),
    fc.integer({ min: -20 * secondUs, max: 20 * secondUs }),
    fc.integer({ min: -5 * dayUs, max: 5 * dayUs }),
  ),
});

describe("Pacer at any rate that is allowed, whatever the clock does", () => {
  it("never exceeds the rate, reaches it, and takes steps in proportion to time and slots", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyRate,
        fc.integer({ min: 1, max: 3 }),
        fc.array(jump, { maxLength: 3 }),
        fc.integer(),
        async (ratePerSecond, workers, jumps, seed) => {
          const manual = new ManualClock(startUs);
          let [aheadUs, steps] = [0, 0];
          const clock: Clock = {
            nowUs: () => {
              steps++;
              return manual.nowUs() + aheadUs;
            },
            sleepUntil: (atUs, signal) => manual.sleepUntil(atUs - aheadUs, signal),
          };
          const store = new SimulatedRounds(manual, 6_000);
          const sends: { readonly worker: number; readonly atUs: number }[] = [];
          const end = new AbortController();
          const send = async (worker: number) => {
            const pacer = new Pacer("a", fixedRate(ratePerSecond), store.of(clock), clock, seededRandom(seed));
            for (;;) {
              if (!(await acquired(pacer))) {
                await manual.sleepUntil(manual.nowUs() + retryUs, end.signal);
                continue;
              }
              sends.push({ worker, atUs: manual.nowUs() });
              await manual.sleepUntil(manual.nowUs() + answerUs, end.signal);
            }
          };
          const acquired = async (pacer: Pacer) => {
            try {
              await pacer.acquire(end.signal, { exhausted: true });
              return true;
            } catch (error) {
              // A clock that is set back twice leaves rounds behind as another worker's would.
              if (error instanceof StateError) return false;
              throw error;
            }
          };
          const done = Array.from({ length: workers }, (_, worker) => send(worker).catch(() => {}));
          for (const { afterMs, byUs } of jumps) {
            await manual.runUntil(manual.nowUs() + afterMs * 1_000);
            aheadUs += byUs;
          }
          // A round that a clock which was set back left behind is given up after 4 s at most.
          const settledUs = manual.nowUs() + 8 * secondUs;
          await manual.runUntil(settledUs);
          const sentBefore = sends.length;
          const seconds = Math.min(30, 4 + 10 / ratePerSecond);
          await manual.runUntil(settledUs + seconds * secondUs);
          const sent = sends.length - sentBefore;
          end.abort();
          await manual.runUntil(manual.nowUs() + 5 * secondUs);
          await Promise.all(done);

          // A jump ends the spacing of the slots before it.
          const allowed = (1 + jumps.length) * (1.001 + (ratePerSecond * maxLateUs) / 1e6);
          expect(mostAbove(sends, ratePerSecond)).toBeLessThanOrEqual(allowed);
          const possible = Math.min(ratePerSecond, (workers * 1e6) / answerUs);
          expect(sent).toBeGreaterThanOrEqual(Math.floor(0.97 * possible * seconds) - 2);
          const totalSeconds = (manual.nowUs() - startUs) / secondUs;
          expect(steps).toBeLessThan(40 * sends.length + 500 * workers * totalSeconds);
          for (const number of Object.values((await readRound(store, manual)) ?? {})) {
            expect(number).toBeLessThan(2 ** 53);
          }
        },
      ),
      {
        numRuns: Number(process.env.RELAY_TEST_RATE_RUNS ?? 10),
        // Shrinking takes longer than a test may.
        endOnFailure: true,
        // A worker slept until the time that its clock had shown before it was set back.
        examples: [
          [
            1_000_000,
            3,
            [
              { afterMs: 1_990, byUs: 175_297_669_342 },
              { afterMs: 149, byUs: -13_550_571 },
              { afterMs: 99, byUs: 13_281_070 },
            ],
            9,
          ],
        ],
      },
    );
  });
});

async function readRound(store: SimulatedRounds, clock: ManualClock) {
  const reading = store.of(clock).read("a");
  await clock.runUntil(clock.nowUs() + secondUs);
  return (await reading)?.round;
}
