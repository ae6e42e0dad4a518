import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Job } from "../../../relay/job/job.ts";
import { JobGate, type Passage } from "../../../relay/job/job-gate.ts";
import { JobWatch } from "../../../relay/job/job-watch.ts";
import type { JobMark } from "../../../relay/queue/job-mark.ts";
import { StateError } from "../../../relay/state/port.ts";
import { ManualClock } from "../../support/clocks/manual-clock.ts";
import { captureStartMs, job, jobStartMs } from "../../support/data/jobs.ts";

const mark = { id: job().id, baseMs: -captureStartMs };

describe("a request of a job", () => {
  it("passes when it is due, and never before", async () => {
    const bench = new Bench(job());
    const passing = bench.pass(2_500);
    await bench.runTo(2_499);
    const early = [...bench.passed];
    await bench.runTo(2_500);

    expect(early).toEqual([]);
    expect(await passing).toEqual({ kind: "due" });
    expect(bench.nowMs).toBe(jobStartMs + 2_500);
  });

  it.each([
    [1, 2_000],
    [10, 20_000],
    [100, 200_000],
  ])("is due %d times sooner at that speed", async (factor, atMs) => {
    const bench = new Bench(job({ pace: { kind: "speed", factor } }));
    const passing = bench.pass(atMs);
    await bench.runTo(1_999);
    const early = [...bench.passed];
    await bench.runTo(2_001);

    expect(early).toEqual([]);
    expect(await passing).toEqual({ kind: "due" });
  });

  it("is due by its index in a job with a rate", async () => {
    const bench = new Bench(job({ pace: { kind: "rate", perSecond: 4 } }), { id: job().id, baseMs: 1_000 });
    const passing = bench.pass(0, 3);
    await bench.runTo(1_749);
    const early = [...bench.passed];
    await bench.runTo(1_750);

    expect(early).toEqual([]);
    expect(await passing).toEqual({ kind: "due" });
  });

  it("never makes a worker spin, if it is due within the microsecond that the clock shows", async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 0.05, max: 500, noNaN: true }), fc.nat(2_000_000), async (factor, atMs) => {
        const replayed = job({ pace: { kind: "speed", factor } });
        let nowUs = Math.floor((jobStartMs + atMs / factor) * 1_000);
        const clock = {
          nowUs: () => nowUs,
          async sleepUntil(atUs: number) {
            if (atUs <= nowUs) throw new Error("the clock does not advance");
            nowUs = Math.ceil(atUs);
          },
        };
        const gate = new JobGate(mark, new JobWatch({ read: async () => ({ job: replayed, version: 1 }) }), clock);
        const request = { capturedAtMs: captureStartMs + atMs, index: 0 };

        expect(await gate.pass(request, new AbortController().signal, true)).toEqual({ kind: "due" });
      }),
      { numRuns: 1_000 },
    );
  });

  it("passes at once if its due time has passed or it has none", async () => {
    const bench = new Bench(job());
    await bench.runTo(1_000);

    expect(await bench.pass(10)).toEqual({ kind: "due" });
    expect(await new Bench(job({ pace: { kind: "asap" } })).pass(60_000)).toEqual({ kind: "due" });
    expect(await new Bench(job({ status: "cancelled" }), { id: mark.id }).pass(60_000)).toEqual({ kind: "due" });
  });

  it("returns to the queue if it is not due soon, with a delay that ends at least a second before it is due", async () => {
    for (let leftMs = 3_001; leftMs < 6_000; leftMs += 333) {
      const passage = await new Bench(job()).pass(leftMs);
      if (passage.kind !== "later") throw new Error(passage.kind);

      expect(Math.ceil(passage.delayMs / 1_000) * 1_000).toBeLessThanOrEqual(leftMs - 1_000);
    }
    expect(await new Bench(job()).pass(60_000)).toEqual({ kind: "later", delayMs: 58_000 });
    expect(await new Bench(job({ toMs: jobStartMs + 9e9 })).pass(2_000_000)).toEqual({
      kind: "later",
      delayMs: 900_000,
    });
  });

  it("waits while its job is paused, and is due later by the length of the pause", async () => {
    const bench = new Bench(job());
    const passing = bench.pass(2_000);
    await bench.runTo(500);
    bench.job = job({ status: "paused", pausedAtMs: jobStartMs + 500 });
    await bench.runTo(12_000);
    bench.job = job({ anchor: { atMs: jobStartMs + 12_000, offsetMs: 500 } });
    await bench.runTo(13_499);
    const early = [...bench.passed];
    await bench.runTo(13_500);

    expect(early).toEqual([]);
    expect(await passing).toEqual({ kind: "due" });
  });

  it("returns to the queue while its job is paused: at once if impatient, else after 15 s", async () => {
    const bench = new Bench(job({ status: "paused", pausedAtMs: jobStartMs }));
    const impatient = await bench.pass(0, 0, false);
    const passing = bench.pass(0);
    await bench.runTo(15_000);
    const early = [...bench.passed];
    await bench.runTo(15_400);

    expect(impatient).toEqual({ kind: "later", delayMs: 10_000 });
    expect(early).toEqual([impatient]);
    expect(await passing).toEqual({ kind: "later", delayMs: 10_000 });
  });

  it("is cancelled within a second of its job, and if there is no such job", async () => {
    const bench = new Bench(job());
    const passing = bench.pass(2_900);
    await bench.runTo(500);
    bench.job = job({ status: "cancelled" });
    await bench.runTo(2_001);

    expect(await passing).toEqual({ kind: "cancelled" });
    expect(await new Bench(undefined).pass(0)).toEqual({ kind: "cancelled" });
  });

  it("stops waiting if the signal is aborted", async () => {
    const bench = new Bench(job());
    const passing = bench.pass(2_000);
    await turn();
    bench.stop.abort();

    await expect(passing).rejects.toMatchObject({ name: "AbortError" });
  });

  it("uses the known job for five seconds while the state is away", async () => {
    const bench = new Bench(job());
    expect(await bench.pass(0)).toEqual({ kind: "due" });
    bench.away = true;
    await bench.runTo(4_000);
    expect(await bench.pass(0)).toEqual({ kind: "due" });
    await bench.runTo(6_000);

    await expect(bench.pass(0)).rejects.toBeInstanceOf(StateError);
  });
});

class Bench {
  job: Job | undefined;
  away = false;
  readonly passed: Passage[] = [];
  readonly stop = new AbortController();
  readonly #clock = new ManualClock(jobStartMs * 1_000);
  readonly #gate: JobGate;

  constructor(first: Job | undefined, of: JobMark = mark) {
    this.job = first;
    const read = async () => {
      if (this.away) throw new StateError("the state is away");
      return this.job && { job: this.job, version: 1 };
    };
    this.#gate = new JobGate(of, new JobWatch({ read }, () => this.nowMs), this.#clock);
  }

  get nowMs(): number {
    return this.#clock.nowUs() / 1_000;
  }

  /** Passes a request that was captured `afterMs` after the start of the capture. */
  async pass(afterMs: number, index = 0, patient = true): Promise<Passage> {
    const passage = await this.#gate.pass({ capturedAtMs: captureStartMs + afterMs, index }, this.stop.signal, patient);
    this.passed.push(passage);
    return passage;
  }

  async runTo(ms: number): Promise<void> {
    await this.#clock.runUntil((jobStartMs + ms) * 1_000);
    await turn();
  }
}
