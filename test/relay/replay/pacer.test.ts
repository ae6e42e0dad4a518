import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Clock } from "../../../relay/clock.ts";
import type { LiveRate } from "../../../relay/replay/live-rate.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import { Pacer } from "../../../relay/replay/pacer.ts";
import { type SlotRounds, StateError } from "../../../relay/state/port.ts";
import { maxLateUs } from "../../../relay/state/slot-round.ts";
import { SimulatedRounds } from "../../simulation/simulated-rounds.ts";
import { ManualClock } from "../../support/clocks/manual-clock.ts";
import { fixedRate, openState } from "../../support/data/lanes.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";
import { target } from "../../support/data/targets.ts";

const startUs = 1_790_000_000_000_000;
const secondUs = 1_000_000;

describe("Pacer", () => {
  it("gives out slots at the distance of the rate, counted from one anchor", async () => {
    const clock = new ManualClock(startUs);
    const times = work(clock, [new Pacer("a", fixedRate(3), openState().rounds, clock)]);
    await clock.runUntil(startUs + 4 * secondUs + 100);

    const grid = Array.from({ length: 13 }, (_, i) => startUs + (i * secondUs) / 3);
    // Rounds start at whole microseconds, each rounded up.
    expect(times.map((us, i) => us - grid[i]).every((late) => late >= 0 && late < 20)).toBe(true);
    expect(times.length).toBe(13);
  });

  it.each([
    [200, 1],
    [7, 1],
    [1_000, 1],
    [200, 2],
    [1_000, 5],
    [50, 12],
  ])("gives out %i slots a second to %i workers, shared alike", async (rate, workers) => {
    const clock = new ManualClock(startUs);
    const { rounds } = openState();
    const times = Array.from({ length: workers }, () => work(clock, [new Pacer("a", fixedRate(rate), rounds, clock)]));
    await clock.runUntil(startUs + 3 * secondUs);
    const before = times.map(({ length }) => length);
    await clock.runUntil(startUs + 13 * secondUs);

    const counts = times.map(({ length }, i) => length - before[i]);
    const sum = counts.reduce((all, count) => all + count, 0);
    expect(Math.abs(sum - rate * 10)).toBeLessThanOrEqual(rate * 10 * 0.01);
    for (const count of counts) expect(Math.abs(count - sum / workers)).toBeLessThanOrEqual((0.2 * sum) / workers);
  });

  it("gives no slot early, nor more than 50 ms late, even if its sleep is inaccurate", async () => {
    const random = seededRandom(7);
    const clock = new ManualClock(startUs, () => Math.floor(random() * 120_000));
    const slotUs = secondUs / 50;
    const times = work(clock, [new Pacer("a", fixedRate(50), openState().rounds, clock)]);
    await clock.runUntil(startUs + 20 * secondUs);

    expect(times.length).toBeGreaterThan(100);
    expect(times.length).toBeLessThan(1_000);
    expect(Math.max(...times.map((us) => (us - startUs) % slotUs))).toBeLessThanOrEqual(maxLateUs);
    expect(worstExcess(times, 50)).toBeLessThanOrEqual(1);
  });

  it("gives up the slots of a stall instead of sending a burst", async () => {
    const clock = new ManualClock(startUs);
    const pacer = new Pacer("a", fixedRate(100), openState().rounds, clock);
    const first = work(clock, [pacer], 1);
    await clock.runUntil(startUs + 10 * secondUs);
    const times = work(clock, [pacer]);
    await clock.runUntil(startUs + 11.5 * secondUs);

    expect(first).toEqual([startUs]);
    expect(times[0]).toBeLessThan(startUs + 10.2 * secondUs);
    expect(worstExcess(times, 100)).toBeLessThanOrEqual(1);
    expect(times.length).toBeGreaterThan(130);
  });

  it.each([1, 2, 5])("holds the rate in any window with %i workers whose sleep is inaccurate", async (workers) => {
    const random = seededRandom(workers);
    const clock = new ManualClock(startUs, () => Math.floor(random() ** 4 * 100_000));
    const { rounds } = openState();
    const pacers = Array.from({ length: workers }, () => new Pacer("a", fixedRate(80), rounds, clock, random));
    const times = work(clock, pacers);
    await clock.runUntil(startUs + 20 * secondUs);

    expect(worstExcess(times, 80)).toBeLessThanOrEqual(1.001);
    expect(times.length).toBeGreaterThan(80 * 20 * 0.7);
  });

  it("holds any rate in any window, with any number of workers and any stalls", async () => {
    const { rounds } = openState();
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
          const name = `target-${++runs}`;
          let sleeps = 0;
          const clock = new ManualClock(startUs, () => stallsUs[sleeps++ % stallsUs.length]);
          const times = work(
            clock,
            Array.from({ length: workers }, () => new Pacer(name, fixedRate(rate), rounds, clock)),
          );
          await clock.runUntil(startUs + Math.ceil((200 * secondUs) / rate) + 10 * secondUs);

          // Slots are at whole microseconds: rounding errors add up to less than 0.001 slots.
          expect(worstExcess(times, rate)).toBeLessThan(1.001);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("serves a target that has a slot only now and then, from one worker or several", async () => {
    const clock = new ManualClock(startUs);
    const { rounds } = openState();
    const pacers = Array.from({ length: 3 }, () => new Pacer("a", fixedRate(0.25), rounds, clock));
    const times = work(clock, pacers);
    await clock.runUntil(startUs + 40 * secondUs);

    expect(times.map((us) => Math.round((us - startUs) / secondUs))).toEqual([0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]);
  });

  it("serves a slow target from functions that live shorter than the distance of its slots", async () => {
    const clock = new ManualClock(startUs);
    const { rounds } = openState();
    const runs = [];
    for (let run = 0; run < 12; run++) {
      const end = new AbortController();
      runs.push(work(clock, [new Pacer("a", fixedRate(10 / 3_600), rounds, clock)], Infinity, end));
      await clock.runUntil(startUs + (run + 1) * 290 * secondUs);
      end.abort();
    }

    const times = runs.flat().map((us) => (us - startUs) / secondUs);
    expect(times).toEqual(Array.from({ length: 10 }, (_, i) => expect.closeTo(i * 360, 3)));
  });

  it("writes once a second for a lone worker at 1/s, less often at a lower rate, and at most 1.6 times at any", async () => {
    for (const rate of [0.01, 0.3, 1, 10, 1_000]) {
      const clock = new ManualClock(startUs);
      const store = new SimulatedRounds(clock, 6_000);
      const times = work(clock, [new Pacer("a", fixedRate(rate), store.of(clock), clock)]);
      await clock.runUntil(startUs + 300 * secondUs);

      expect(times.length).toBeGreaterThanOrEqual(Math.floor(rate * 299));
      const perSecond = rate > 1 ? 1.61 : 1;
      expect(store.writesUs.length).toBeLessThanOrEqual(Math.min(300 * perSecond + 1, 2 * times.length + 2));
      expect(store.refusalsUs).toEqual([]);
    }
  });

  it("stops writing soon after its last caller has gone", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 6_000);
    const end = new AbortController();
    work(clock, [new Pacer("a", fixedRate(100), store.of(clock), clock)], Infinity, end);
    await clock.runUntil(startUs + 10 * secondUs);
    end.abort();
    await clock.runUntil(startUs + 60 * secondUs);

    expect(Math.max(...store.writesUs)).toBeLessThan(startUs + 12.5 * secondUs);
  });

  it.each([0.1, 6, 90, 160])("loses no slot to a store that is %i ms away", async (roundTripMs) => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, roundTripMs * 1_000);
    const pacers = Array.from({ length: 4 }, () => new Pacer("a", fixedRate(200), store.of(clock), clock));
    const times = work(clock, pacers);
    await clock.runUntil(startUs + 3 * secondUs);
    const early = times.length;
    await clock.runUntil(startUs + 13 * secondUs);

    expect(times.length - early).toBeGreaterThanOrEqual(1_995);
  });

  it.each([
    [100, 400],
    [400, 100],
    [1, 50],
  ])("follows a rate that changes from %i/s to %i/s within two seconds", async (from, to) => {
    const clock = new ManualClock(startUs);
    const { rounds } = openState();
    const rate = { ratePerSecond: from, refresh: async () => {} };
    const times = work(
      clock,
      Array.from({ length: 3 }, () => new Pacer("a", rate, rounds, clock)),
    );
    await clock.runUntil(startUs + 5.3 * secondUs);
    Object.assign(rate, { ratePerSecond: to });
    await clock.runUntil(startUs + 12.3 * secondUs);

    const after = times.filter((us) => us >= startUs + 7.3 * secondUs);
    expect(Math.abs(after.length - 5 * to)).toBeLessThanOrEqual(0.01 * 5 * to + 1);
    // A lower rate is kept at once: each worker uses fewer of its slots.
    const between = times.filter((us) => us >= startUs + 5.4 * secondUs && us < startUs + 7.4 * secondUs);
    expect(between.length).toBeLessThanOrEqual(2 * Math.max(from > to ? 0 : from, to) * 1.05 + 4);
  });

  it("stops waiting for a slot when the rate loses its limit", async () => {
    const clock = new ManualClock(startUs);
    const rate = { ratePerSecond: 0.001, refresh: async () => {} };
    const times = work(clock, [new Pacer("a", rate, openState().rounds, clock)], 3);
    await clock.runUntil(startUs + 5 * secondUs);
    Object.assign(rate, { ratePerSecond: Number.POSITIVE_INFINITY });
    await clock.runUntil(startUs + 7 * secondUs);

    expect(times.length).toBe(3);
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

    // The slots of a rate that doubles in these ten seconds. A round keeps the rate at which it was closed.
    const allowed = (200 / part) * (10 / Math.LN2);
    expect(early).toBeGreaterThan(allowed * 0.7);
    expect(early).toBeLessThanOrEqual(allowed + 1);
    expect(late.length).toBeGreaterThan(990);
    expect(worstExcess(times, 200)).toBeLessThan(1.001);
  });

  it.each([1, 4])("never exceeds the rate of a slow target after a slowdown, with %i workers", async (workers) => {
    const clock = new ManualClock(startUs);
    const times = await slowedWork(clock, { ratePerSecond: 0.5, part: 64, workers });
    await clock.runUntil(startUs + 120 * secondUs);

    expect(worstExcess(times, 0.5)).toBeLessThan(1.001);
    expect(times.length).toBeGreaterThan(30);
  });

  it("continues after two seconds if the clock is set back by an hour while it waits", async () => {
    const manual = new ManualClock(startUs);
    let aheadUs = 0;
    const clock: Clock = {
      nowUs: () => manual.nowUs() + aheadUs,
      sleepUntil: (atUs, signal) => manual.sleepUntil(atUs - aheadUs, signal),
    };
    const times = work(manual, [new Pacer("a", fixedRate(10), openState().rounds, clock)]);
    await manual.runUntil(startUs + secondUs);
    const before = times.length;
    aheadUs = -3_600 * secondUs;
    await manual.runUntil(startUs + 5 * secondUs);

    expect(before).toBe(11);
    expect(times.length - before).toBeGreaterThanOrEqual(15);
    expect(worstExcess(times, 10)).toBeLessThanOrEqual(1.001);
  });

  it("continues after seconds if the clock is set back twice, the second time by an hour", async () => {
    const manual = new ManualClock(startUs);
    let aheadUs = 0;
    const clock: Clock = {
      nowUs: () => manual.nowUs() + aheadUs,
      sleepUntil: (atUs, signal) => manual.sleepUntil(atUs - aheadUs, signal),
    };
    const times = work(manual, [new Pacer("a", fixedRate(10), openState().rounds, clock)]);
    await manual.runUntil(startUs + secondUs);
    aheadUs = -10 * secondUs;
    await manual.runUntil(startUs + 2.4 * secondUs);
    aheadUs = -3_600 * secondUs;
    await manual.runUntil(startUs + 10 * secondUs);

    expect(times.length).toBeGreaterThanOrEqual(50);
    expect(worstExcess(times, 10)).toBeLessThanOrEqual(1.001);
  });

  it("goes on if the state has lost its rounds", async () => {
    const clock = new ManualClock(startUs);
    const stores = [new SimulatedRounds(clock, 6_000), new SimulatedRounds(clock, 6_000)];
    const current = () => stores[0].of(clock);
    const rounds: SlotRounds = {
      read: (name) => current().read(name),
      enter: (name) => current().enter(name),
      close: (...args) => current().close(...args),
      open: (...args) => current().open(...args),
    };
    const times = work(clock, [new Pacer("a", fixedRate(100), rounds, clock)]);
    await clock.runUntil(startUs + 10 * secondUs);
    stores.shift();
    await clock.runUntil(startUs + 20 * secondUs);

    expect(times.filter((us) => us > startUs + 13 * secondUs).length).toBeGreaterThan(650);
    expect(worstExcess(times, 100)).toBeLessThanOrEqual(1.001);
  });

  it("uses the slots that it has while the state is away, then rejects", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 6_000);
    const pacer = new Pacer("a", fixedRate(10), store.of(clock), clock);
    const failures: unknown[] = [];
    const times = work(clock, [pacer], Infinity, new AbortController(), (error) => failures.push(error));
    await clock.runUntil(startUs + 4.2 * secondUs);
    store.away = true;
    await clock.runUntil(startUs + 30 * secondUs);

    expect(times.at(-1)).toBeGreaterThan(startUs + 4.2 * secondUs);
    expect(times.at(-1)).toBeLessThan(startUs + 6.5 * secondUs);
    expect(failures).toEqual([expect.any(StateError)]);
  });

  it("leaves its slots to others while it has little to send", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 6_000);
    const busy = work(clock, [new Pacer("a", fixedRate(100), store.of(clock), clock)]);
    const { signal } = new AbortController();
    let answered = 0;
    const idle = async (pacer: Pacer) => {
      for (let second = 1; second < 60; second += 5) {
        await clock.sleepUntil(startUs + second * secondUs);
        await pacer.acquire(signal);
        answered++;
      }
    };
    for (let i = 0; i < 4; i++) void idle(new Pacer("a", fixedRate(100), store.of(clock), clock));
    await clock.runUntil(startUs + 60 * secondUs);

    expect(answered).toBe(4 * 12);
    expect(busy.length + answered).toBeGreaterThan(0.82 * 6_000);
  });

  it("keeps its slots while all of its requests are in flight", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 6_000);
    const times: number[] = [];
    const send = async (pacer: Pacer, end: AbortSignal) => {
      for (;;) {
        await pacer.acquire(end, { exhausted: true });
        times.push(clock.nowUs());
        await clock.sleepUntil(clock.nowUs() + 600_000);
      }
    };
    const end = new AbortController();
    onTestFinished(() => end.abort());
    for (let i = 0; i < 8; i++)
      void send(new Pacer("a", fixedRate(10), store.of(clock), clock), end.signal).catch(() => {});
    await clock.runUntil(startUs + 3 * secondUs);
    const early = times.length;
    await clock.runUntil(startUs + 23 * secondUs);

    expect(times.length - early).toBeGreaterThanOrEqual(196);
  });

  it("fails no caller because one call to the state has failed", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 6_000);
    const random = seededRandom(3);
    const rounds = store.of(clock);
    const failing =
      <Args extends unknown[], T>(call: (...args: Args) => Promise<T>) =>
      async (...args: Args): Promise<T> => {
        if (random() < 0.05) {
          await clock.sleepUntil(clock.nowUs() + 500_000);
          throw new StateError("no answer within 500 ms");
        }
        return call(...args);
      };
    const flaky: SlotRounds = {
      read: failing(rounds.read),
      enter: failing(rounds.enter),
      close: failing(rounds.close),
      open: failing(rounds.open),
    };
    const times = work(clock, [new Pacer("a", fixedRate(1), flaky, clock), new Pacer("a", fixedRate(1), flaky, clock)]);
    await clock.runUntil(startUs + 200 * secondUs);

    expect(times.length).toBeGreaterThan(150);
    expect(worstExcess(times, 1)).toBeLessThanOrEqual(1.001);
  });

  it("sends nothing from a machine whose clock is seconds behind, and says so", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 6_000);
    const behind: Clock = {
      nowUs: () => clock.nowUs() - 5 * secondUs,
      sleepUntil: (atUs, signal) => clock.sleepUntil(atUs + 5 * secondUs, signal),
    };
    const failures: unknown[] = [];
    const right = work(clock, [new Pacer("a", fixedRate(50), store.of(clock), clock)]);
    await clock.runUntil(startUs + 2 * secondUs);
    const wrong = work(clock, [new Pacer("a", fixedRate(50), store.of(behind), behind)], Infinity, undefined, (error) =>
      failures.push(error),
    );
    await clock.runUntil(startUs + 30 * secondUs);

    expect(wrong).toEqual([]);
    expect(failures).toEqual([expect.objectContaining({ message: expect.stringContaining("clock is 5") })]);
    expect(right.length).toBeGreaterThan(1_450);
  });

  it("survives an outage of the state during which the clock is set back", async () => {
    const manual = new ManualClock(startUs);
    let aheadUs = 0;
    const clock: Clock = {
      nowUs: () => manual.nowUs() + aheadUs,
      sleepUntil: (atUs, signal) => manual.sleepUntil(atUs - aheadUs, signal),
    };
    const store = new SimulatedRounds(manual, 6_000);
    const pacer = new Pacer("a", fixedRate(10), store.of(clock), clock);
    const failures: unknown[] = [];
    const retry = async (signal: AbortSignal) => {
      for (;;) {
        const failed = await pacer.acquire(signal).catch((error: unknown) => error);
        if (!failed) return;
        failures.push(failed);
        signal.throwIfAborted();
        await manual.sleepUntil(manual.nowUs() + secondUs, signal);
      }
    };
    const times = work(manual, [{ acquire: retry }]);
    await manual.runUntil(startUs + 3 * secondUs);
    store.away = true;
    aheadUs = -10 * secondUs;
    await manual.runUntil(startUs + 30 * secondUs);
    store.away = false;
    const before = times.length;
    await manual.runUntil(startUs + 50 * secondUs);

    expect(failures.length).toBeGreaterThan(1);
    expect(times.length - before).toBeGreaterThan(120);
  });

  it("keeps a limit that was gone while its first round was opened", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 100_000);
    const rate = { ratePerSecond: 10, refresh: async () => {} };
    const pacer = new Pacer("a", rate, store.of(clock), clock);
    const unhurried = {
      acquire: async (signal: AbortSignal) => {
        await clock.sleepUntil(clock.nowUs() + 1_000, signal);
        await pacer.acquire(signal);
      },
    };
    const times = work(clock, [unhurried]);
    await clock.runUntil(startUs + 0.05 * secondUs);
    Object.assign(rate, { ratePerSecond: Number.POSITIVE_INFINITY });
    await clock.runUntil(startUs + 0.13 * secondUs);
    Object.assign(rate, { ratePerSecond: 10 });
    await clock.runUntil(startUs + 8 * secondUs);

    const after = times.filter((us) => us > startUs + 2 * secondUs);
    expect(after.length).toBeGreaterThanOrEqual(59);
    expect(worstExcess(after, 10)).toBeLessThanOrEqual(1.001);
  });

  it("rejects if no seat can be taken", async () => {
    const clock = new ManualClock(startUs);
    const store = new SimulatedRounds(clock, 0);
    store.away = true;
    const { signal } = new AbortController();
    const rejected = expect(new Pacer("a", fixedRate(10), store.of(clock), clock).acquire(signal)).rejects.toThrow(
      "does not answer",
    );
    await clock.runUntil(startUs + secondUs);

    await rejected;
  });

  it("stops waiting when the signal is aborted", async () => {
    const clock = new ManualClock(startUs);
    const pacer = new Pacer("a", fixedRate(0.001), openState().rounds, clock);
    const stop = new AbortController();
    await pacer.acquire(stop.signal);
    const waiting = expect(pacer.acquire(stop.signal)).rejects.toThrow("enough");
    await turn();
    stop.abort(new Error("enough"));

    await waiting;
    await expect(pacer.acquire(stop.signal)).rejects.toThrow("enough");
  });

  it("gives no slot to a caller whose signal is aborted, even if one is due", async () => {
    const clock = new ManualClock(startUs);
    const pacer = new Pacer("a", fixedRate(1_000), openState().rounds, clock);
    await pacer.acquire(new AbortController().signal);
    const next = pacer.acquire(new AbortController().signal);
    // The slot after the next one is due, too.
    await clock.runUntil(startUs + 2_500);
    await next;

    await expect(pacer.acquire(AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });
});

/**
 * Starts workers that acquire one slot after the other, `most` in all. Returns the times of their slots, to which later slots
 * are added. A worker ends with its first failure.
 */
function work(
  clock: ManualClock,
  pacers: readonly Pick<Pacer, "acquire">[],
  most = Number.POSITIVE_INFINITY,
  stop = new AbortController(),
  onFailure: (error: unknown) => void = (error) => {
    throw error;
  },
): number[] {
  const times: number[] = [];
  onTestFinished(() => stop.abort());
  for (const pacer of pacers) {
    const loop = async () => {
      while (times.length < most) {
        await pacer.acquire(stop.signal);
        times.push(clock.nowUs());
      }
    };
    loop().catch((error: unknown) => {
      if (!stop.signal.aborted) onFailure(error);
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
  const random = seededRandom(30);
  const pacers = Array.from({ length: workers }, () => {
    const live: LiveRate & LiveTarget = new LiveTarget(
      target({ ratePerSecond }),
      state.controls,
      () => clock.nowUs() / 1_000,
    );
    const pacer = new Pacer("staging", live, state.rounds, clock, random);
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
