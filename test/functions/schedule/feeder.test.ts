import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { Feeder } from "../../../functions/schedule/feeder.ts";
import type { FeederOptions } from "../../../functions/schedule/feeder-options.ts";
import type { Archive } from "../../../relay/archive/port.ts";
import { ArchiveError } from "../../../relay/archive/port.ts";
import type { TargetConfig } from "../../../relay/config/config.ts";
import type { Job } from "../../../relay/job/job.ts";
import { jobKey } from "../../../relay/job/job.ts";
import { dueAtMs } from "../../../relay/job/job-clock.ts";
import { cancelJob, pauseJob, resumeJob } from "../../../relay/job/job-control.ts";
import { parseSummary } from "../../../relay/pack/summary.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { offsetOf } from "../../../relay/queue/job-mark.ts";
import { type MessagePack, readMessage } from "../../../relay/queue/message.ts";
import { QueueError } from "../../../relay/queue/port.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import { Pattern } from "../../../relay/rules/pattern.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { until } from "../../support/clocks/until.ts";
import { captureOf, captureStartMs, everyMs, job, jobStartMs, newJob } from "../../support/data/jobs.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { packMessage } from "../../support/data/packs.ts";
import { target } from "../../support/data/targets.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const signal = new AbortController().signal;

describe("Feeder", () => {
  it("feeds the requests that are due within its look-ahead, each once", async () => {
    const bench = await Bench.open({ timesMs: everyMs(600, 100) });
    await bench.start(newJob());
    await bench.feeder.run(signal);
    const soon = bench.sentPaths().length;
    await bench.feed(30_000);
    const half = bench.sentPaths().length;
    await bench.feed(60_000);

    expect(soon).toBeGreaterThanOrEqual(40);
    expect(soon).toBeLessThan(60);
    expect(half).toBeGreaterThanOrEqual(340);
    expect(half).toBeLessThan(360);
    expect(bench.sentPaths()).toEqual(Array.from({ length: 600 }, (_, i) => `/${i}`));
    expect(await bench.job()).toMatchObject({ status: "fed", checkpoint: { requests: 600, complete: true } });
  });

  it("feeds a job whose numbers an older version left out of bounds, and warns once", async () => {
    const bench = await Bench.open({ timesMs: everyMs(10, 100) });
    const absurd = { pace: { kind: "rate", perSecond: 1e300 }, createdAtMs: 1e300, loops: 2.5 } as const;
    await bench.start(newJob(absurd));
    for (let round = 0; round < 5; round++) await bench.feed(round * 1_000);

    expect(bench.sentPaths().length).toBe(20);
    expect(bench.log.lines.filter(({ event }) => event === "job-repaired")).toMatchObject([
      {
        level: "warn",
        job: newJob().id,
        target: "staging",
        reason: expect.stringContaining("pace.perSecond is 1e+300, read as 1000000"),
      },
    ]);
  });

  it.each([
    [1, 20_000],
    [10, 2_000],
    [100, 200],
  ])("makes every pack visible in the queue shortly before it is due, at %dx", async (factor, lengthMs) => {
    const bench = await Bench.open({ timesMs: everyMs(200, 100) });
    await bench.start(newJob({ pace: { kind: "speed", factor } }));
    const arrivals = await bench.receiveAll(lengthMs + 5_000);

    expect(arrivals.length).toBe(200);
    for (const { path, atMs, dueMs } of arrivals) {
      const offsetMs = (Number(path.slice(1)) * 100) / factor;
      expect(dueMs - jobStartMs - 1_000).toBeCloseTo(offsetMs, 3);
      // Half a second before the first request of its pack, which spans at most a second.
      expect(atMs).toBeLessThanOrEqual(dueMs);
      expect(dueMs - atMs).toBeLessThan(1_000 + 500 + bench.stepMs);
    }
  });

  it("begins a job at its start time, not earlier", async () => {
    const bench = await Bench.open({ timesMs: [0, 100] });
    const startAtMs = jobStartMs + 60_000;
    await bench.start(newJob({ startAtMs }));
    await bench.feed(54_000);
    const before = bench.sentPaths();
    await bench.feed(56_000);

    expect(before).toEqual([]);
    expect(bench.sentPaths()).toEqual(["/0", "/1"]);
    expect((await bench.job()).anchor).toEqual({ atMs: startAtMs, offsetMs: 0 });
  });

  it("keeps a job without due times invisible in the queue until its start", async () => {
    const bench = await Bench.open({ timesMs: everyMs(60, 100) });
    const startAtMs = jobStartMs + 8_250;
    await bench.start(newJob({ startAtMs, pace: { kind: "asap" } }));
    const atMs = await bench.receiveTimes(12_000);

    expect(atMs.length).toBe(60);
    expect(Math.min(...atMs)).toBeGreaterThanOrEqual(startAtMs);
    expect(Math.max(...atMs)).toBeLessThanOrEqual(startAtMs + bench.stepMs);
  });

  it("feeds the requests that match `where` and the target's `when`, and ignores the target's sample", async () => {
    const config = { when: { path: new Pattern("[0-4]$") }, sample: { fraction: 0 } };
    const bench = await Bench.open({ timesMs: everyMs(30, 10), config });
    await bench.start(newJob({ where: { path: "^/1" } }));
    await bench.feed(2_000);

    expect(bench.sentPaths()).toEqual(["/1", "/10", "/11", "/12", "/13", "/14"]);
    expect((await bench.job()).checkpoint).toMatchObject({ requests: 6, filtered: 24 });
  });

  it("feeds loops one after the other", async () => {
    const bench = await Bench.open({ timesMs: [0, 1_000] });
    await bench.start(newJob({ loops: 3, toMs: captureStartMs + 2_000 }));
    const arrivals = await bench.receiveAll(10_000);

    expect(arrivals.map(({ dueMs }) => dueMs - jobStartMs - 1_000)).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000]);
    expect(new Set(arrivals.map(({ pack }) => pack)).size).toBe(3);
  });

  it("ends a job when every fed request has a fate", async () => {
    const bench = await Bench.open({ timesMs: [0, 100, 200] });
    await bench.start(newJob());
    await bench.feed(5_000);
    const before = await bench.job();
    for (const { id, requests } of bench.sent) {
      await bench.state.ledger.settle(
        jobKey(before.id),
        id,
        new Map(requests.map(({ index }) => [index, "answered.2xx"])),
      );
    }
    await bench.feed(6_000);

    expect(before.status).toBe("fed");
    expect(await bench.job()).toMatchObject({ status: "done", endedAtMs: jobStartMs + 5_000 });
    expect(bench.log.events).toContain("job-done");
  });

  it("feeds nothing while a job is paused, then continues where it stopped without catching up", async () => {
    const bench = await Bench.open({ timesMs: everyMs(300, 100) });
    await bench.start(newJob());
    await bench.feed(10_000);
    await pauseJob(bench.state.jobs, newJob().id, bench.nowMs);
    const atPause = bench.sentPaths().length;
    await bench.feed(60_000);
    const stillPaused = bench.sentPaths().length;
    await resumeJob(bench.state.jobs, newJob().id, bench.nowMs);
    await bench.feed(100_000);

    expect(atPause).toBeLessThan(160);
    expect(stillPaused).toBe(atPause);
    expect(bench.sentPaths()).toEqual(Array.from({ length: 300 }, (_, i) => `/${i}`));
    // 1 s from the start of the job until its clock starts, 50 s of pause, and 10 s for the packs sent back to the queue.
    expect(await bench.dueMs("/299")).toBeCloseTo(jobStartMs + 1_000 + 29_900 + 60_000, 3);
  });

  it("stops feeding a job that is cancelled", async () => {
    const bench = await Bench.open({ timesMs: everyMs(300, 100) });
    await bench.start(newJob());
    await bench.feed(10_000);
    await cancelJob(bench.state.jobs, newJob().id, bench.nowMs);
    const before = bench.sentPaths().length;
    await bench.feed(20_000);

    expect(bench.sentPaths().length).toBe(before);
    expect(await bench.job()).toMatchObject({ status: "cancelled", endedAtMs: jobStartMs + 10_000 });
  });

  it("lets only as many requests wait at a target as it receives in a few seconds", async () => {
    const bench = await Bench.open({ timesMs: everyMs(3_000, 1), config: { ratePerSecond: 50 } });
    await bench.start(newJob({ pace: { kind: "asap" } }));
    await bench.feed(10_000);
    const before = bench.sentPaths().length;
    await bench.settleAll();
    await bench.feed(11_000);

    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThanOrEqual(1_000);
    expect(bench.sentPaths().length).toBeGreaterThan(before);
    expect(bench.sentPaths().length).toBeLessThanOrEqual(2_000);
  });

  it("shares jobs with other feeders: each job is fed by one of them", async () => {
    const bench = await Bench.open({ timesMs: everyMs(100, 100) });
    const other = bench.createFeeder();
    await bench.start(newJob());
    for (bench.nowMs = jobStartMs; bench.nowMs < jobStartMs + 15_000; bench.nowMs += 1_000) {
      await Promise.all([bench.feeder.run(signal), other.run(signal)]);
    }

    expect(bench.sentPaths()).toEqual(Array.from({ length: 100 }, (_, i) => `/${i}`));
  });

  it("continues at once after another feeder has stopped, and after the lease of one that died", async () => {
    const bench = await Bench.open({ timesMs: everyMs(600, 100) });
    await bench.start(newJob());
    await bench.feed(5_000);
    await bench.feeder.stop();
    bench.feeder = bench.createFeeder();
    await bench.feed(6_000);
    const afterStop = bench.sentPaths().length;
    bench.feeder = bench.createFeeder();
    await bench.feed(11_000);
    const afterDeath = bench.sentPaths().length;
    await bench.feed(14_000);

    expect(afterStop).toBeGreaterThan(95);
    expect(afterDeath).toBe(afterStop);
    expect(bench.sentPaths().length).toBeGreaterThan(170);
  });

  it("does not catch up on the time in which no feeder ran", async () => {
    const bench = await Bench.open({ timesMs: everyMs(600, 100) });
    await bench.start(newJob());
    await bench.feed(5_000);
    bench.feeder = bench.createFeeder();
    bench.nowMs += 3_600_000;
    const before = bench.sentPaths().length;
    await bench.feed(bench.nowMs - jobStartMs + 1_000);

    const fed = bench.sentPaths().length - before;
    expect(fed).toBeGreaterThan(5);
    expect(fed).toBeLessThan(70);
    expect(await bench.dueMs(`/${before}`)).toBeGreaterThan(jobStartMs + 3_600_000);
    // The packs that were in the queue, due after the fifth second, are not late either.
    expect(await bench.dueMs("/41")).toBeGreaterThan(jobStartMs + 3_600_000);
  });

  it("stores in a job why it cannot continue, retries, and removes the reason when it continues", async () => {
    const bench = await Bench.open({ timesMs: everyMs(20, 100) });
    bench.archiveDown = true;
    await bench.start(newJob());
    await bench.feed(3_000);
    const held = await bench.job();
    bench.archiveDown = false;
    await bench.feed(10_000);

    expect(held).toMatchObject({ status: "running", reason: "the bucket is away" });
    expect(bench.log.events.filter((event) => event === "feed-failed").length).toBe(1);
    expect(bench.sentPaths().length).toBe(20);
    expect((await bench.job()).reason).toBeUndefined();
  });

  it("leaves half of the target's queue to the requests of agents, and says so", async () => {
    const queueBytes = 32 * 1024 * 1024;
    const bodyOf = () => randomBytes(200_000);
    const bench = await Bench.open({ timesMs: everyMs(140, 1), perPack: 1, bodyOf, queueBytes });
    await bench.start(newJob({ pace: { kind: "asap" } }));
    await bench.feed(5_000);
    const { bytes = 0 } = await bench.queue.backlog();
    const held = await bench.job();
    await bench.queue.entrance.send([packMessage()]);
    await bench.drain();
    await bench.feed(10_000);

    expect(bytes).toBeGreaterThan(0.5 * queueBytes);
    expect(bytes).toBeLessThan(0.8 * queueBytes);
    expect(held).toMatchObject({
      status: "running",
      reason: expect.stringMatching(/^the target's queue has more than half/),
    });
    expect(bench.log.events).not.toContain("feed-failed");
    expect(new Set(bench.sentPaths()).size).toBeGreaterThan(100);
  });

  it("logs no job if the list of jobs cannot be read", async () => {
    const bench = await Bench.open({ timesMs: [0] });
    bench.killAt = 0;
    await bench.feeder.start();
    await bench.feeder.stop();

    const [failed] = bench.log.lines.filter(({ event }) => event === "feed-failed");
    expect(failed).toMatchObject({ msg: "the list of replay jobs cannot be read: retrying" });
    expect(failed).not.toHaveProperty("job");
  });

  it("removes the reason when a job can continue, even if nothing is due for minutes", async () => {
    const bench = await Bench.open({ timesMs: [0, 300_000] });
    await bench.start(newJob());
    await bench.feed(5_000);
    bench.archiveDown = true;
    bench.feeder = bench.createFeeder();
    await bench.feed(15_000);
    const held = await bench.job();
    bench.archiveDown = false;
    await bench.feed(20_000);

    expect(held.reason).toBe("the bucket is away");
    expect(await bench.job()).not.toHaveProperty("reason");
  });

  it("does not catch up on the time in which its archive was away", async () => {
    const bench = await Bench.open({ timesMs: everyMs(600, 100) });
    await bench.start(newJob());
    await bench.feed(5_000);
    bench.archiveDown = true;
    const before = bench.sentPaths().length;
    bench.feeder = bench.createFeeder();
    await bench.feed(45_000);
    bench.archiveDown = false;
    const away = bench.sentPaths().length;
    await bench.feed(46_000);

    expect(away).toBe(before);
    expect(bench.sentPaths().length).toBeGreaterThan(before);
    expect(bench.sentPaths().length - before).toBeLessThan(70);
    expect(await bench.dueMs(`/${before}`)).toBeGreaterThanOrEqual(jobStartMs + 46_000);
  });

  it("does not delay a job while the archive of another job hangs", async () => {
    const bench = await Bench.open({ timesMs: everyMs(100, 100) });
    const stuck = newJob({ id: "20261122-180000-two", capture: "stuck" });
    await bench.start(stuck);
    await bench.start(newJob());
    const begun = bench.feeder.start();
    await until(() => bench.sentPaths().length > 0);
    bench.nowMs += 5_000;
    await until(() => bench.sentPaths().length > 80);
    await bench.feeder.stop();
    await begun;

    expect(await bench.job(stuck.id)).toMatchObject({ checkpoint: { requests: 0 } });
    // A hanging archive does not keep the feeder from stopping and releasing the job.
    expect((await bench.job(stuck.id)).lease).toBeUndefined();
  });

  it("still finds jobs after the clock was set back", async () => {
    const bench = await Bench.open({ timesMs: [0] });
    await bench.feeder.start();
    bench.nowMs -= 7_200_000;
    await bench.start(newJob());
    await until(() => bench.sentPaths().length === 1, 5_000);
    await bench.feeder.stop();
  });

  it("fails a job whose target was removed while its queue still has requests", async () => {
    const bench = await Bench.open({ timesMs: [0, 100] });
    await bench.start(newJob());
    await bench.feed(5_000);
    bench.targets = [];
    bench.feeder = bench.createFeeder();
    await bench.feed(6_000);

    expect(await bench.job()).toMatchObject({ status: "failed", reason: expect.stringContaining("target staging") });
  });

  it("leaves a job alone that another process feeds, even if its target is unknown here", async () => {
    const bench = await Bench.open({ timesMs: everyMs(600, 100) });
    await bench.start(newJob());
    await bench.feed(2_000);
    bench.targets = [];
    await bench.createFeeder().run(signal);

    expect((await bench.job()).status).toBe("running");
  });

  it("fails a job whose target or capture is no longer configured", async () => {
    const bench = await Bench.open({ timesMs: [0] });
    await bench.start(newJob({ target: "gone" }));
    await bench.start(newJob({ id: "20261122-180000-two", capture: "lost" }));
    await bench.feed(2_000);

    expect(await bench.job()).toMatchObject({ status: "failed", reason: expect.stringContaining("target gone") });
    expect(await bench.job("20261122-180000-two")).toMatchObject({
      status: "failed",
      reason: expect.stringContaining("capture lost"),
    });
  });

  it("fails a job with a regular expression that an older version allowed, and feeds the others", async () => {
    const bench = await Bench.open({ timesMs: [0] });
    await bench.start(newJob({ where: { path: "(a)\\1" } }));
    await bench.start(newJob({ id: "20261122-180000-two" }));
    await bench.feed(2_000);

    expect(await bench.job()).toMatchObject({ status: "failed", reason: expect.stringContaining("back-reference") });
    expect((await bench.job("20261122-180000-two")).status).toBe("fed");
  });

  it("counts a request that is too big for the queue as skipped, and continues", async () => {
    const big = randomBytes(300_000);
    const bench = await Bench.open({
      timesMs: [0, 100, 200],
      bodyOf: (i) => (i === 1 ? big : undefined),
      maxBytes: 50_000,
    });
    await bench.start(newJob());
    await bench.feed(5_000);
    await bench.settleAll();
    await bench.feed(6_000);

    expect(bench.sentPaths()).toEqual(["/0", "/2"]);
    expect(await bench.totals()).toMatchObject({ enqueued: 3, fates: { skipped: 1, "answered.2xx": 2 } });
    expect((await bench.job()).status).toBe("done");
  });

  it("loses nothing and sends the same packs, whichever call it is killed at", { timeout: 120_000 }, async () => {
    const setUp = () => Bench.open({ timesMs: everyMs(150, 100), perPack: 10 });
    const whole = await setUp();
    await whole.start(newJob({ loops: 2, toMs: captureStartMs + 15_000 }));
    await whole.feed(60_000);
    const expected = new Map(whole.sent.map(({ id, requests }) => [id, requests.length]));
    expect(whole.calls).toBeGreaterThan(60);

    for (let killAt = 0; killAt < whole.calls; killAt += 3) {
      const bench = await setUp();
      await bench.start(newJob({ loops: 2, toMs: captureStartMs + 15_000 }));
      bench.killAt = killAt;
      await bench.feed(120_000);

      expect(new Map(bench.sent.map(({ id, requests }) => [id, requests.length])), `killed at ${killAt}`).toEqual(
        expected,
      );
      expect(await bench.totals()).toMatchObject({ enqueued: 300 });
      expect(await bench.job()).toMatchObject({ status: "fed", checkpoint: { requests: 300 } });
      expect((await bench.state.ledger.totals()).agents).toMatchObject([
        { packs: expected.size, lastSequence: expected.size },
      ]);
    }
  });

  it("loses nothing and sends the same packs, in any order of feeds, deaths, pauses and outages", {
    timeout: 120_000,
  }, async () => {
    const setUp = async () => {
      const bench = await Bench.open({ timesMs: everyMs(150, 100), perPack: 10 });
      await bench.start(newJob({ loops: 2, toMs: captureStartMs + 15_000 }));
      return bench;
    };
    const whole = await setUp();
    await whole.feed(60_000);
    const expected = new Map(whole.sent.map(({ id, requests }) => [id, requests.length]));
    const event = fc.oneof(
      fc.constantFrom("feed", "feed", "other feeds", "pause", "resume", "away", "back", "stop", "settle"),
      fc.nat(25).map((calls) => ({ diesAfter: calls })),
      fc.integer({ min: 200, max: 12_000 }).map((ms) => ({ passes: ms })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 10, maxLength: 60 }), async (events) => {
        const bench = await setUp();
        for (const what of [...events, "back", "resume"]) await bench.live(what);
        bench.killAt = Number.POSITIVE_INFINITY;
        bench.feeder = bench.createFeeder();
        bench.nowMs += 60_000;
        await bench.feed(bench.nowMs - jobStartMs + 120_000);

        expect(new Map(bench.sent.map(({ id, requests }) => [id, requests.length]))).toEqual(expected);
        expect(await bench.totals()).toMatchObject({ enqueued: 300 });
        expect(await bench.job()).toMatchObject({
          status: expect.stringMatching(/^(?:fed|done)$/),
          checkpoint: { requests: 300, complete: true },
        });
      }),
      { numRuns: 25 },
    );
  });
});

/** Feeds from a capture in memory into a real queue and a real state store, whose clock is `nowMs`. */
class Bench {
  readonly state: EmbeddedState;
  readonly queue: EmbeddedQueue;
  readonly log = new LogLines();
  /** All packs that were sent, including duplicates. */
  readonly sent: MessagePack[] = [];
  readonly stepMs = 100;
  feeder: Feeder;
  nowMs = jobStartMs;
  archiveDown = false;
  targets: readonly TargetConfig[];
  /** The feeder dies at this call to its stores; the next round is run by another process. */
  killAt = Number.POSITIVE_INFINITY;
  calls = 0;
  #other: Feeder | undefined;
  readonly #archive: Archive;
  readonly #maxBytes: number;

  static async open(options: BenchOptions): Promise<Bench> {
    const { timesMs, perPack, bodyOf = () => undefined } = options;
    const archive = await captureOf(timesMs, perPack, (i) => {
      const body = bodyOf(i);
      return body ? { body } : {};
    });
    return new Bench(archive, options);
  }

  private constructor(archive: Archive, { config = {}, maxBytes = 1_000_000, queueBytes = 1e12 }: BenchOptions) {
    const directory = temporaryDirectory();
    this.state = EmbeddedState.open(directory, () => this.nowMs);
    this.queue = EmbeddedQueue.open({ directory, name: "q", maxBytes: queueBytes, now: () => this.nowMs });
    this.#archive = archive;
    this.targets = [target(config)];
    this.#maxBytes = maxBytes;
    this.feeder = this.createFeeder();
    onTestFinished(() => {
      this.queue.close();
      this.state.close();
    });
  }

  createFeeder(): Feeder {
    const { state } = this;
    const life = { dead: false };
    const call = async <T>(work: () => T | Promise<T>): Promise<T> => {
      if (life.dead) throw new Error("dead");
      if (this.calls++ === this.killAt) {
        life.dead = true;
        throw new Error("dead");
      }
      return work();
    };
    const options: FeederOptions = {
      jobs: {
        list: () => call(() => state.jobs.list()),
        read: (id) => call(() => state.jobs.read(id)),
        write: (changed, version) => call(() => state.jobs.write(changed, version)),
      },
      ledger: {
        recordFanOut: (pack) => call(() => state.ledger.recordFanOut(pack)),
        totals: () => call(() => state.ledger.totals()),
      },
      targets: this.targets.map((config) => new LiveTarget(config, state.controls, () => this.nowMs)),
      queueOf: () => ({
        maxMessageBytes: this.queue.maxMessageBytes,
        isHalfFull: () => this.queue.entrance.isHalfFull?.() === true,
        send: (messages) =>
          call(async () => {
            const refusals = await this.queue.send(messages);
            const tooBig = this.#refuse(messages.map(({ pack }) => pack.length));
            for (const [i, message] of messages.entries()) {
              const pack = readMessage(message);
              if (!("requests" in pack)) throw pack;
              if (!tooBig[i]) this.sent.push(pack);
            }
            return refusals.map((refusal, i) => refusal ?? tooBig[i]);
          }),
      }),
      archives: new Map([
        [
          "peak",
          {
            put: (name: string, bytes: Uint8Array) => this.#archive.put(name, bytes),
            get: (name: string) => {
              if (this.archiveDown) throw new ArchiveError("UNAVAILABLE", "the bucket is away");
              return this.#archive.get(name);
            },
            list: (range) => this.#archive.list(range),
            delete: (names: readonly string[]) => this.#archive.delete(names),
          } satisfies Archive,
        ],
        ["stuck", stuckArchive],
      ]),
      lookAheadMs: 5_000,
      leadMs: 500,
      leaseMs: 6_000,
      maxWaiting: 1_000,
      log: this.log.log,
      now: () => this.nowMs,
    };
    return new Feeder(options);
  }

  async start(begun: Job): Promise<void> {
    await this.state.jobs.write(begun, 0);
  }

  async job(id = job().id): Promise<Job> {
    const found = await this.state.jobs.read(id);
    if (!found) throw new Error(`no job ${id}`);
    return found.job;
  }

  /** Runs a round each second, until `untilMs` after the start of the job. A dead feeder is replaced by a new process. */
  async feed(untilMs: number): Promise<void> {
    for (;;) {
      const before = this.calls;
      await this.feeder.run(signal).catch(() => {});
      if (before <= this.killAt && this.calls > this.killAt) this.feeder = this.createFeeder();
      if (this.nowMs + 1_000 > jobStartMs + untilMs) break;
      this.nowMs += 1_000;
    }
    this.nowMs = jobStartMs + untilMs;
  }

  /** Applies an event that may happen while a job runs. */
  async live(what: string | { readonly diesAfter: number } | { readonly passes: number }): Promise<void> {
    const { id } = job();
    if (typeof what === "object") {
      if ("passes" in what) this.nowMs += what.passes;
      else this.killAt = this.calls + what.diesAfter;
    } else if (what === "feed" || what === "other feeds") {
      if (what === "other feeds") [this.feeder, this.#other] = [this.#other ?? this.createFeeder(), this.feeder];
      await this.feeder.run(signal).catch(() => {});
      if (this.calls > this.killAt) {
        this.feeder = this.createFeeder();
        this.killAt = Number.POSITIVE_INFINITY;
      }
    } else if (what === "stop") {
      await this.feeder.stop();
      this.feeder = this.createFeeder();
    } else if (what === "pause") await pauseJob(this.state.jobs, id, this.nowMs).catch(() => {});
    else if (what === "resume") await resumeJob(this.state.jobs, id, this.nowMs).catch(() => {});
    else if (what === "settle") await this.settleAll();
    else this.archiveDown = what === "away";
  }

  /** Feeds, and receives each pack as soon as it is visible. */
  async receiveAll(untilMs: number) {
    const arrivals: { path: string; pack: string; atMs: number; dueMs: number }[] = [];
    for (; this.nowMs < jobStartMs + untilMs; this.nowMs += this.stepMs) {
      if ((this.nowMs - jobStartMs) % 1_000 === 0) await this.feeder.run(signal);
      const deliveries = await this.queue.receive({ max: 10, waitMs: 0, visibilityMs: 3_600_000, signal });
      for (const delivery of deliveries) {
        const pack = readMessage(delivery);
        if (!("requests" in pack)) throw pack;
        for (const { path } of pack.requests) {
          arrivals.push({ path, pack: pack.id, atMs: this.nowMs, dueMs: await this.dueMs(path, pack) });
        }
      }
    }
    return arrivals;
  }

  /** Feeds, and resolves with the time at which each request became visible in the queue. */
  async receiveTimes(untilMs: number): Promise<readonly number[]> {
    const atMs: number[] = [];
    for (; this.nowMs < jobStartMs + untilMs; this.nowMs += this.stepMs) {
      if ((this.nowMs - jobStartMs) % 1_000 === 0) await this.feeder.run(signal);
      const deliveries = await this.queue.receive({ max: 10, waitMs: 0, visibilityMs: 3_600_000, signal });
      for (const { body } of deliveries) {
        const { count = 0 } = parseSummary(body) ?? {};
        atMs.push(...Array.from({ length: count }, () => this.nowMs));
      }
    }
    return atMs;
  }

  /** The due time of a request that was sent. */
  async dueMs(path: string, pack?: MessagePack): Promise<number> {
    const whole = pack ?? this.sent.find(({ requests }) => requests.some((request) => request.path === path));
    const request = whole?.requests.find((each) => each.path === path);
    const owner = await this.job();
    if (!whole?.job || !request) throw new Error(`${path} was not sent`);
    return dueAtMs(owner, offsetOf(owner.pace, whole.job, request) ?? Number.NaN) ?? Number.NaN;
  }

  sentPaths(): readonly string[] {
    return this.sent.flatMap(({ requests }) => requests.map(({ path }) => path));
  }

  async settleAll(): Promise<void> {
    for (const { id, requests } of this.sent) {
      await this.state.ledger.settle(
        jobKey(job().id),
        id,
        new Map(requests.map(({ index }) => [index, "answered.2xx"])),
      );
    }
  }

  /** Receives and deletes everything that is visible. */
  async drain(): Promise<void> {
    for (;;) {
      const deliveries = await this.queue.receive({ max: 10, waitMs: 0, visibilityMs: 30_000, signal });
      if (deliveries.length === 0) return;
      await this.queue.delete(deliveries.map(({ receipt }) => receipt));
    }
  }

  async totals() {
    return (await this.state.ledger.totals()).targets.get(jobKey(job().id));
  }

  #refuse(bytes: readonly number[]): readonly (QueueError | undefined)[] {
    return bytes.map((length) => (length > this.#maxBytes ? new QueueError("TOO_BIG", `${length} bytes`) : undefined));
  }
}

/** Never answers, like a network file system whose server is away. */
const stuckArchive: Archive = {
  put: () => new Promise(() => {}),
  get: () => new Promise(() => {}),
  async *list() {
    await new Promise(() => {});
  },
  delete: () => new Promise(() => {}),
};

interface BenchOptions {
  readonly timesMs: readonly number[];
  readonly perPack?: number;
  readonly config?: Partial<TargetConfig>;
  readonly bodyOf?: (i: number) => Uint8Array | undefined;
  readonly maxBytes?: number;
  /** What the queue and its file may have. */
  readonly queueBytes?: number;
}
