import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import type { Clock } from "../../../relay/clock.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import { type LiveRate, Pacer } from "../../../relay/replay/pacer.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { type SlotLeases, StateError } from "../../../relay/state/port.ts";
import { maxLateUs } from "../../../relay/state/slot-lease.ts";
import { ManualClock } from "../../support/clocks/manual-clock.ts";
import { fixedRate } from "../../support/data/lanes.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";
import { target } from "../../support/data/targets.ts";

const root = mkdtempSync(join(tmpdir(), "pacer-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const startUs = 1_790_000_000_000_000;
const secondUs = 1_000_000;

describe("Pacer", () => {
  it("gives out slots at the distance of the rate, counted from one anchor", async () => {
    const clock = new ManualClock(startUs);
    const times = work(clock, [new Pacer("a", fixedRate(3), openState().leases, clock)]);
    await clock.runUntil(startUs + 4 * secondUs);

    const grid = Array.from({ length: 13 }, (_, i) => startUs + (i * secondUs) / 3);
    expect(times).toEqual(grid.map((us) => expect.closeTo(us, -0.5)));
  });

  it.each([
    [200, 1],
    [7, 1],
    [1_000, 1],
    [200, 2],
    [1_000, 5],
  ])("gives out %i slots a second over ten seconds to %i workers", async (rate, workers) => {
    const clock = new ManualClock(startUs);
    const state = openState();
    const times = work(
      clock,
      Array.from({ length: workers }, () => new Pacer("a", fixedRate(rate), state.leases, clock)),
    );
    await clock.runUntil(startUs + 10 * secondUs - 1);

    expect(Math.abs(times.length - rate * 10)).toBeLessThanOrEqual(rate * 10 * 0.01);
  });

  it("gives no slot early, nor more than 50 ms late, even if its sleep is inaccurate", async () => {
    const random = seededRandom(7);
    const clock = new ManualClock(startUs, () => Math.floor(random() * 120_000));
    const slotUs = secondUs / 50;
    const times = work(clock, [new Pacer("a", fixedRate(50), openState().leases, clock)]);
    await clock.runUntil(startUs + 20 * secondUs);

    const lateness = times.map((us) => (us - startUs) % slotUs);
    expect(times.length).toBeGreaterThan(100);
    expect(times.length).toBeLessThan(1_000);
    expect(Math.max(...lateness)).toBeLessThanOrEqual(maxLateUs);
    expect(worstExcess(times, 50)).toBeLessThanOrEqual(1);
  });

  it("gives up the slots of a stall instead of sending a burst", async () => {
    const clock = new ManualClock(startUs);
    const pacer = new Pacer("a", fixedRate(100), openState().leases, clock);
    const { signal } = new AbortController();
    await pacer.acquire(signal);
    await clock.runUntil(startUs + 10 * secondUs);
    const times = work(clock, [pacer]);
    await clock.runUntil(startUs + 11 * secondUs);

    expect(times[0]).toBe(startUs + 10 * secondUs);
    expect(times.length).toBe(101);
  });

  it.each([1, 2, 5])("holds the rate in any window with %i workers whose sleep is inaccurate", async (workers) => {
    const random = seededRandom(workers);
    const clock = new ManualClock(startUs, () => Math.floor(random() ** 4 * 100_000));
    const state = openState();
    const times = work(
      clock,
      Array.from({ length: workers }, () => new Pacer("a", fixedRate(80), state.leases, clock)),
    );
    await clock.runUntil(startUs + 20 * secondUs);

    expect(worstExcess(times, 80)).toBeLessThanOrEqual(1);
    expect(times.length).toBeGreaterThan(80 * 20 * 0.7);
    expect(times.length).toBeLessThanOrEqual(80 * 20 + 1);
  });

  it("holds any rate in any window, with any number of workers and any stalls", async () => {
    const state = openState();
    const rates = fc.oneof(fc.integer({ min: 5, max: 1_000 }), fc.double({ min: 0.2, max: 5, noNaN: true }));
    const stall = fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 0, max: 20_000 }) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 5 * secondUs }) },
    );
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        rates,
        fc.integer({ min: 1, max: 4 }),
        fc.array(stall, { minLength: 1, maxLength: 50 }),
        async (rate, workers, stallsUs) => {
          const target = `target-${++runs}`;
          let sleeps = 0;
          const clock = new ManualClock(startUs, () => stallsUs[sleeps++ % stallsUs.length]);
          const times = work(
            clock,
            Array.from({ length: workers }, () => new Pacer(target, fixedRate(rate), state.leases, clock)),
          );
          await clock.runUntil(startUs + Math.ceil((200 * secondUs) / rate));

          expect(times.length).toBeGreaterThan(0);
          // The grid is stored in fractions of µs: rounding errors add up to less than 0.001 slots.
          expect(worstExcess(times, rate)).toBeLessThan(1.001);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("serves a target that is slower than one request per lease", async () => {
    const clock = new ManualClock(startUs);
    const state = openState();
    const times = work(clock, [
      new Pacer("a", fixedRate(0.5), state.leases, clock),
      new Pacer("a", fixedRate(0.5), state.leases, clock),
    ]);
    await clock.runUntil(startUs + 20 * secondUs);

    expect(times.map((us) => (us - startUs) / secondUs)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
  });

  it("leases once for all callers that wait at the same time, and gives each of them a slot", async () => {
    const clock = new ManualClock(startUs);
    const state = openState();
    let leased = 0;
    const counted: SlotLeases = {
      take: (name, request) => {
        leased++;
        return state.leases.take(name, request);
      },
    };
    const pacer = new Pacer("a", fixedRate(200), counted, clock);
    const callers = Array.from({ length: 8 }, () => pacer);
    const times = work(clock, callers);
    await clock.runUntil(startUs + 10 * secondUs - 1);

    expect(times.length).toBe(2_000);
    // Leases of a quarter of a second each, and one more at the end.
    expect(leased).toBe(41);
  });

  it("serves a slow target from functions that live shorter than the distance of its slots", async () => {
    const clock = new ManualClock(startUs);
    const state = openState();
    const runs = [];
    for (let run = 0; run < 12; run++) {
      const end = new AbortController();
      runs.push(work(clock, [new Pacer("a", fixedRate(10 / 3_600), state.leases, clock)], end));
      await clock.runUntil(startUs + (run + 1) * 290 * secondUs);
      end.abort();
    }

    const times = runs.flat().map((us) => (us - startUs) / secondUs);
    expect(times).toEqual(Array.from({ length: 10 }, (_, i) => expect.closeTo(i * 360, 3)));
  });

  it.each([
    [2, 4],
    [64, 1],
    [64, 4],
    [64, 12],
  ])("rises from 1/%i of the rate to the whole rate without losing slots, with %i workers", async (part, workers) => {
    const clock = new ManualClock(startUs);
    const times = await slowedWork(clock, { ratePerSecond: 200, part, workers });
    await clock.runUntil(startUs + 10 * secondUs);
    const early = times.length;
    const wholeUs = startUs + Math.log2(part) * 10 * secondUs;
    await clock.runUntil(wholeUs + 10 * secondUs);
    const late = times.filter((us) => us >= wholeUs + 5 * secondUs);

    // The slots of a rate that doubles in these ten seconds. Leases keep the rate at which they were granted, up to two seconds
    // ahead.
    const allowed = (200 / part) * (10 / Math.LN2);
    expect(early).toBeGreaterThan(allowed * 0.75);
    expect(early).toBeLessThanOrEqual(allowed + 1);
    expect(late.length).toBeGreaterThan(998);
    expect(worstExcess(times, 200)).toBeLessThan(1.001);
  });

  it.each([1, 4])("never exceeds the rate of a slow target after a slowdown, with %i workers", async (workers) => {
    const clock = new ManualClock(startUs);
    const times = await slowedWork(clock, { ratePerSecond: 0.5, part: 64, workers });
    await clock.runUntil(startUs + 120 * secondUs);

    expect(worstExcess(times, 0.5)).toBeLessThan(1.001);
    // One in ten seconds at first, one in two seconds at the end.
    expect(times.slice(0, 3).map((us) => (us - startUs) / secondUs)).toEqual([0, 10, 20]);
    expect(times.length).toBeGreaterThan(30);
  });

  it("retries a refused lease at the current rate, however often it was refused before", async () => {
    const clock = new ManualClock(startUs);
    const state = openState();
    const asked: number[] = [];
    const leases: SlotLeases = {
      take: async (name, request) => {
        asked.push(1_000_000 / request.slotUs);
        if (asked.length < 5) return { granted: false, retryAtUs: request.nowUs + 0.5 * secondUs };
        return state.leases.take(name, request);
      },
    };
    let current = 10;
    const rate: LiveRate = {
      ratePerSecond: 10,
      refresh: async () => void Object.assign(rate, { ratePerSecond: current }),
    };
    const times = work(clock, [new Pacer("a", rate, leases, clock, () => 0)]);
    await clock.runUntil(startUs + 0.75 * secondUs);
    current = 2;
    await clock.runUntil(startUs + 3 * secondUs);

    expect(asked.slice(0, 5)).toEqual([10, 10, 2, 2, 2]);
    expect(times).toEqual([2, 2.5, 3].map((second) => startUs + second * secondUs));
  });

  it("continues at once if the clock is set back by an hour while it waits", async () => {
    const manual = new ManualClock(startUs);
    let aheadUs = 0;
    const clock: Clock = {
      nowUs: () => manual.nowUs() + aheadUs,
      sleepUntil: (atUs, signal) => manual.sleepUntil(atUs - aheadUs, signal),
    };
    const times = work(manual, [new Pacer("a", fixedRate(10), openState().leases, clock)]);
    await manual.runUntil(startUs + secondUs);
    const before = times.length;
    aheadUs = -3_600 * secondUs;
    await manual.runUntil(startUs + 5 * secondUs);

    expect(before).toBe(11);
    expect(times.length - before).toBeGreaterThanOrEqual(38);
    expect(worstExcess(times, 10)).toBeLessThanOrEqual(1);
  });

  it("rejects if no slot can be leased", async () => {
    const broken: SlotLeases = { take: () => Promise.reject(new StateError("gone")) };
    const { signal } = new AbortController();

    await expect(new Pacer("a", fixedRate(10), broken, new ManualClock(startUs)).acquire(signal)).rejects.toThrow(
      "gone",
    );
  });

  it("stops waiting when the signal is aborted", async () => {
    const clock = new ManualClock(startUs);
    const pacer = new Pacer("a", fixedRate(0.001), openState().leases, clock);
    const stop = new AbortController();
    await pacer.acquire(stop.signal);
    const waiting = expect(pacer.acquire(stop.signal)).rejects.toThrow("enough");
    await turn();
    stop.abort(new Error("enough"));

    await waiting;
    await expect(pacer.acquire(stop.signal)).rejects.toThrow("enough");
  });
});

function openState(): EmbeddedState {
  const state = EmbeddedState.open(mkdtempSync(join(root, "s-")));
  onTestFinished(() => state.close());
  return state;
}

/** Starts workers that acquire one slot after the other. Returns the times of their slots, to which later slots are added. */
function work(clock: ManualClock, pacers: readonly Pick<Pacer, "acquire">[], stop = new AbortController()): number[] {
  const times: number[] = [];
  onTestFinished(() => stop.abort());
  for (const pacer of pacers) {
    const loop = async () => {
      for (;;) {
        await pacer.acquire(stop.signal);
        times.push(clock.nowUs());
      }
    };
    loop().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    });
  }
  return times;
}

/** Like `work`, for a target whose shadow has just asked for less: its rate was divided by `part`. */
async function slowedWork(
  clock: ManualClock,
  { ratePerSecond, part, workers }: { readonly ratePerSecond: number; readonly part: number; readonly workers: number },
): Promise<number[]> {
  const state = openState();
  await state.controls.write("staging", { slowdown: { factor: 1 / part, atMs: startUs / 1_000 } }, 0);
  // With this seed workers are refused again and again.
  const random = seededRandom(30);
  const pacers = Array.from({ length: workers }, () => {
    const live = new LiveTarget(target({ ratePerSecond }), state.controls, () => clock.nowUs() / 1_000);
    const pacer = new Pacer("staging", live, state.leases, clock, random);
    return {
      acquire: async (signal: AbortSignal) => {
        await live.refresh();
        await pacer.acquire(signal);
      },
    };
  });
  return work(clock, pacers);
}

/** The number of slots above rate * (W + J) in the fullest window W: 1 is allowed. */
function worstExcess(times: readonly number[], rate: number): number {
  let worst = Number.NEGATIVE_INFINITY;
  for (let from = 0; from < times.length; from++) {
    for (let to = from; to < times.length; to++) {
      worst = Math.max(worst, to - from + 1 - (rate * (times[to] - times[from] + maxLateUs)) / secondUs);
    }
  }
  return worst;
}
