import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { countEarly } from "../../../relay/demo/arrival-bound.ts";
import { jobKey } from "../../../relay/job/job.ts";
import { cancelJob, pauseJob, resumeJob } from "../../../relay/job/job-control.ts";
import { readHostStats } from "../../../relay/stats/host-stats.ts";
import { addsUp, toEquations } from "../../../relay/stats/ledger-equations.ts";
import { type Arrival, JobBench } from "../../support/benches/job-bench.ts";
import { until } from "../../support/clocks/until.ts";
import { everyMs } from "../../support/data/jobs.ts";
import { packMessage, requests } from "../../support/data/packs.ts";
import { target } from "../../support/data/targets.ts";

// Limit for the median lateness: a machine that runs several tests may stall for a moment. A request must never be early.
const lateMs = 1_500;
// Many times the interval between two requests.
const quietMs = 1_500;

describe("a replay job", { timeout: 60_000 }, () => {
  it.each([
    [1, 4_000],
    [10, 30_000],
  ])(
    "sends each request once, in order and when it is due, at %dx, and the ledger adds up",
    async (factor, lengthMs) => {
      const timesMs = burstsOf(400, lengthMs);
      const bench = await JobBench.start(timesMs);
      const job = await bench.startJob({ pace: { kind: "speed", factor } });
      const { job: done, fates, total } = await bench.untilDone(job);

      expect(pathsOf(bench.arrivals)).toEqual(timesMs.map((_, i) => `/${i}`));
      expectInTime(latenessOf(bench.arrivals, timesMs, factor, done.anchor?.atMs));
      expect(fates).toMatchObject({ "answered.2xx": 400, cancelled: 0 });
      expect(total).toBe(400);
      const stats = await readHostStats(bench.stores, [target()]);
      expect(stats.agents).toEqual([]);
      expect(stats.jobs).toMatchObject({ [job.id]: { enqueued: 400 } });
      expect(addsUp(toEquations(undefined, stats))).toBe(true);
    },
  );

  it("sends nothing while it is paused, and continues where it stopped", async () => {
    const timesMs = everyMs(60, 100);
    const bench = await JobBench.start(timesMs);
    const job = await bench.startJob();
    await until(() => bench.arrivals.length >= 10);
    await pauseJob(bench.stores.state.jobs, job.id, Date.now());
    await until(() => Date.now() - (bench.arrivals.at(-1)?.atMs ?? 0) > quietMs);
    const atPause = bench.arrivals.length;
    await sleep(quietMs);
    const stillPaused = bench.arrivals.length;
    await resumeJob(bench.stores.state.jobs, job.id, Date.now());
    const { job: done } = await bench.untilDone(job);

    expect(atPause).toBeLessThan(50);
    expect(stillPaused).toBe(atPause);
    expect(pathsOf(bench.arrivals)).toEqual(timesMs.map((_, i) => `/${i}`));
    const rest = bench.arrivals.slice(atPause);
    // Without the requests sent before the pause took effect. The job's clock restarts at the resume: no catching up.
    expectInTime(latenessOf(rest, timesMs, 1, (done.anchor?.atMs ?? 0) - (done.anchor?.offsetMs ?? 0)));
  });

  it("sends nothing more once it is cancelled, and settles the waiting requests", async () => {
    const bench = await JobBench.start(everyMs(100, 100));
    const job = await bench.startJob();
    await until(() => bench.arrivals.length >= 10);
    await cancelJob(bench.stores.state.jobs, job.id, Date.now());
    await until(async () => (await bench.progress(job)).waiting === 0);
    const { fed, fates } = await bench.progress(job);

    expect(bench.arrivals.length).toBeLessThan(60);
    expect(fates["answered.2xx"]).toBe(bench.arrivals.length);
    expect(fates.cancelled).toBe(fed - bench.arrivals.length);
    expect(fates.cancelled).toBeGreaterThan(0);
  });

  it("never exceeds its target's rate, even if its own pace is faster", async () => {
    const bench = await JobBench.start(everyMs(400, 1), "rate: 100/s");
    const job = await bench.startJob({ pace: { kind: "asap" } });
    const { job: done } = await bench.untilDone(job);

    const timesMs = bench.arrivals.map(({ atMs }) => atMs);
    expect(timesMs.length).toBe(400);
    // Ideally 4 s; the first request may have been late if the machine stalled.
    expect(timesMs[399] - timesMs[0]).toBeGreaterThan(2_500);
    expect(countEarly(timesMs, done.anchor?.atMs ?? Number.NaN, 100)).toBe(0);
  });

  it("sends at its own rate", async () => {
    const bench = await JobBench.start(everyMs(100, 1));
    const job = await bench.startJob({ pace: { kind: "rate", perSecond: 50 } });
    const { job: done } = await bench.untilDone(job);

    expectInTime(latenessOf(bench.arrivals, everyMs(100, 20), 1, done.anchor?.atMs));
  });

  it("does not hold up the packs of agents, even if it has more than its target can receive", async () => {
    const bench = await JobBench.start(everyMs(3_000, 1), "rate: 50/s");
    const job = await bench.startJob({ pace: { kind: "asap" } });
    await until(() => bench.arrivals.length >= 20);
    await bench.enqueueLive(packMessage({ agent: "edge~2", sequence: 1, requests: requests(20, { path: "/live" }) }));
    const before = bench.arrivals.length;
    await until(() => bench.arrivals.filter(({ path }) => path === "/live").length === 20);
    const last = bench.arrivals.findLastIndex(({ path }) => path === "/live");
    await cancelJob(bench.stores.state.jobs, job.id, Date.now());

    // They share the rate with the job equally; some slots pass before the pack is received.
    expect(last - before).toBeLessThan(150);
  });

  it("continues after kill -9 without a loss, and repeats requests only under the same id", async () => {
    const timesMs = everyMs(80, 100);
    const bench = await JobBench.start(timesMs);
    const job = await bench.startJob();
    await until(() => bench.arrivals.length >= 25);
    await bench.kill();
    await bench.run();
    const { fates, fed } = await bench.untilDone(job, 60_000);

    expect(new Set(pathsOf(bench.arrivals)).size).toBe(80);
    expect(new Set(bench.arrivals.map(({ path, id }) => `${path} ${id}`)).size).toBe(80);
    expect(fed).toBe(80);
    expect(fates["answered.2xx"]).toBe(80);
    const { agents } = await bench.stores.state.ledger.totals();
    expect(agents).toMatchObject([{ agent: jobKey(job.id), requests: 80 }]);
  });

  it("expires nothing because of the time in which no host ran", async () => {
    const timesMs = everyMs(200, 100);
    const bench = await JobBench.start(timesMs, "rate: unlimited, concurrency: 1, maxAge: 3s");
    const job = await bench.startJob();
    await until(() => bench.arrivals.length >= 25);
    await bench.kill();
    // Longer than maxAge, and than the lease of the dead host.
    await sleep(9_000);
    await bench.run();
    const { fates } = await bench.untilDone(job, 60_000);

    expect(fates).toMatchObject({ "answered.2xx": 200, expired: 0 });
  });
});

/** Ascending times in bursts, with silences between them. */
function burstsOf(count: number, lengthMs: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => {
    const burst = Math.floor((i / count) * 8);
    return Math.floor((burst * lengthMs) / 8 + (i % (count / 8)) * (lengthMs / 40 / 50));
  });
}

function pathsOf(arrivals: readonly Arrival[]): readonly string[] {
  return arrivals.map(({ path }) => path);
}

/** @param lateness in the order of arrival */
function expectInTime(lateness: readonly number[]): void {
  const middle = lateness.length >> 1;
  expect(Math.min(...lateness)).toBeGreaterThanOrEqual(0);
  expect(medianOf(lateness.slice(0, middle))).toBeLessThan(lateMs);
  // In the second half as well: the job does not fall behind.
  expect(medianOf(lateness.slice(middle))).toBeLessThan(lateMs);
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

/** How late each request arrived, in milliseconds. */
function latenessOf(
  arrivals: readonly Arrival[],
  timesMs: readonly number[],
  factor: number,
  anchorMs = Number.NaN,
): readonly number[] {
  return arrivals.map(({ path, atMs }) => atMs - (anchorMs + timesMs[Number(path.slice(1))] / factor));
}
