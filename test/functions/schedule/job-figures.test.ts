import fc from "fast-check";
import { expect, it, onTestFinished } from "vitest";
import { Feeder } from "../../../functions/schedule/feeder.ts";
import type { Archive } from "../../../relay/archive/port.ts";
import { explainUndelivered, formatSettled } from "../../../relay/commands/job-text.ts";
import { forecastJob } from "../../../relay/job/forecast.ts";
import { type Job, jobKey } from "../../../relay/job/job.ts";
import { dueAtMs } from "../../../relay/job/job-clock.ts";
import { pauseJob, resumeJob } from "../../../relay/job/job-control.ts";
import { type JobProgress, readProgress } from "../../../relay/job/job-progress.ts";
import { type JobRequest, startJob } from "../../../relay/job/job-request.ts";
import { measureLoop } from "../../../relay/job/loop-plan.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { offsetOf } from "../../../relay/queue/job-mark.ts";
import { type MessagePack, readMessage } from "../../../relay/queue/message.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import { Pattern } from "../../../relay/rules/pattern.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import type { Fate } from "../../../relay/state/port.ts";
import { captureOf, captureStartMs, jobStartMs } from "../../support/data/jobs.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { target } from "../../support/data/targets.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

// Every figure of a replay job, compared with what plain arrays of times and paths say.

interface Captured {
  readonly atMs: number;
  /** Which of the conditions it meets: bit 1 is `where`, bit 2 the target's `when`. */
  readonly meets: number;
}

interface Scenario {
  readonly captured: readonly Captured[];
  readonly perPack: number;
  readonly where: boolean;
  readonly when: boolean;
  readonly request: Pick<JobRequest, "pace" | "loops" | "maxGapMs">;
  /** Cut off from the ends of the capture. */
  readonly cutMs: readonly [number, number];
  readonly events: readonly ("pause" | "resume" | "settle" | { readonly passMs: number })[];
  readonly fates: readonly Fate[];
  /** As if the capture were too large to read it at the start. */
  readonly large: boolean;
}

const gap = fc.oneof(
  { weight: 4, arbitrary: fc.nat(60) },
  { weight: 3, arbitrary: fc.integer({ min: 200, max: 4_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 10_000, max: 90_000 }) },
);
const captured = fc
  .array(fc.record({ gapMs: gap, meets: fc.nat(3) }), { minLength: 1, maxLength: 60 })
  .map((parts): readonly Captured[] => {
    let atMs = -parts[0].gapMs;
    return parts.map(({ gapMs, meets }) => {
      atMs += gapMs;
      return { atMs, meets };
    });
  });
const pace = fc.oneof(
  fc.constantFrom(0.5, 1, 2, 10).map((factor) => ({ kind: "speed", factor }) as const),
  fc.constantFrom(0.5, 3, 40).map((perSecond) => ({ kind: "rate", perSecond }) as const),
  fc.constant({ kind: "asap" } as const),
);
const scenarios: fc.Arbitrary<Scenario> = fc
  .record({
    captured,
    perPack: fc.integer({ min: 1, max: 25 }),
    where: fc.boolean(),
    when: fc.boolean(),
    pace,
    loops: fc.integer({ min: 1, max: 3 }),
    maxGapMs: fc.option(fc.integer({ min: 1, max: 5_000 }), { nil: undefined }),
    cutMs: fc.tuple(fc.oneof(fc.constant(0), fc.nat(8_000)), fc.oneof(fc.constant(0), fc.nat(8_000))),
    events: fc.array(
      fc.oneof(
        fc.constantFrom("pause", "resume", "settle", "settle"),
        fc.integer({ min: 100, max: 30_000 }).map((passMs) => ({ passMs })),
      ),
      { maxLength: 12 },
    ),
    fates: fc.array(fc.constantFrom<Fate>("answered.2xx", "answered.5xx", "deadLettered", "expired", "skipped"), {
      minLength: 1,
      maxLength: 7,
    }),
    large: fc.boolean(),
  })
  .map(({ pace: chosen, loops, maxGapMs, ...rest }) => ({
    ...rest,
    // A longest gap works only with a speed.
    request: { pace: chosen, loops, ...(maxGapMs !== undefined && chosen.kind === "speed" && { maxGapMs }) },
  }));

it("says of a replay job what its capture, its flags and its answers say", { timeout: 60_000 }, async () => {
  let shortened = 0;
  await fc.assert(
    fc.asyncProperty(scenarios, async (scenario) => {
      const bench = await Bench.open(scenario);
      const oracle = toOracle(scenario, bench.job);
      if (scenario.request.maxGapMs !== undefined && oracle.dueMs.length > 1) shortened++;
      await checkForecast(bench, oracle);
      for (const event of scenario.events) {
        await bench.live(event);
        check(await bench.progress(), bench, oracle);
      }
      await bench.finish();
      const done = await bench.progress();
      check(done, bench, oracle);
      expect(bench.dueTimes()).toEqual(oracle.dueMs.map((ms) => expect.closeTo(ms, 3)));
      expect(done).toMatchObject({ leftOut: oracle.leftOut, waiting: 0, share: 1, job: { status: "done" } });
      if (Math.max(...scenario.cutMs) === 0) expect(done.missing).toBe(0);
      const failed = bench.count("deadLettered") + bench.count("expired");
      if (failed === 0) expect(explainUndelivered(done)).toBeUndefined();
      else expect(explainUndelivered(done)).toMatch(new RegExp(`^${failed} requests? (?:was|were) not delivered: `));
    }),
    { numRuns: 40 },
  );
  expect(shortened).toBeGreaterThan(1);
});

it("does not read thousands of small objects before a job starts", async () => {
  const archive = await captureOf(
    Array.from({ length: 400 }, (_, i) => i * 60_000),
    1,
  );
  let opened = 0;
  const counting = {
    ...archive,
    list: (range: Parameters<Archive["list"]>[0]) => archive.list(range),
    get: (name: string) => {
      opened++;
      return archive.get(name);
    },
  } as unknown as Archive;
  const state = EmbeddedState.open(temporaryDirectory(), () => jobStartMs);
  onTestFinished(() => state.close());
  const place = { targets: [target()], captures: new Map([["peak", counting]]), jobs: state.jobs };
  const request = { capture: "peak", target: "staging", pace: { kind: "asap" }, where: { path: "^/" } } as const;
  const { plan } = await startJob(place, request, jobStartMs + 86_400_000);

  expect(opened).toBe(0);
  expect(plan).toMatchObject({ requests: 400, exact: false });
  await startJob(place, { ...request, toMs: captureStartMs + 6_000_000 }, jobStartMs + 86_400_000);
  expect(opened).toBe(100);
});

it("shows the requests of a part that cannot be read as such, and as undelivered", async () => {
  const timesMs = Array.from({ length: 40 }, (_, i) => ({ atMs: i * 100, meets: 3 }));
  const bench = await Bench.open({
    captured: timesMs,
    perPack: 10,
    where: false,
    when: false,
    request: { pace: { kind: "asap" }, loops: 2 },
    cutMs: [0, 0],
    events: [],
    fates: ["answered.2xx"],
    large: false,
  });
  await bench.breakObject(1);
  await bench.finish();
  const done = await bench.progress();

  expect(done).toMatchObject({ total: 60, settled: 60, unreadable: 20, missing: 0, share: 1 });
  expect(explainUndelivered(done)).toMatch(/^20 requests were not delivered: 20 in parts of the capture that cannot/);
});

interface Oracle {
  /** When each request is due, in ms after the job's clock shows 0; empty if it has no due times. */
  readonly dueMs: readonly number[];
  readonly total: number;
  readonly leftOut: number;
}

/** What the job has to do, from the capture and the flags. */
function toOracle({ captured, where, when, request }: Scenario, { fromMs, toMs }: Job): Oracle {
  const { pace, loops = 1, maxGapMs = Number.POSITIVE_INFINITY } = request;
  const within = captured
    .map(({ atMs, meets }) => ({ ms: captureStartMs + atMs, meets }))
    .filter(({ ms }) => ms >= fromMs && ms < toMs);
  const taken = within.filter(({ meets }) => (!where || (meets & 1) === 1) && (!when || (meets & 2) === 2));
  // Repeating a range without a request is pointless.
  const rounds = taken.length === 0 ? 1 : loops;
  const all = { total: taken.length * rounds, leftOut: (within.length - taken.length) * rounds };
  if (pace.kind === "asap") return { ...all, dueMs: [] };
  if (pace.kind === "rate") {
    return { ...all, dueMs: Array.from({ length: all.total }, (_, i) => (i * 1_000) / pace.perSecond) };
  }
  const dueMs: number[] = [];
  let clockMs = 0;
  for (let round = 0; round < rounds; round++) {
    let beforeMs = fromMs;
    for (const { ms } of taken) {
      clockMs += Math.min(ms - beforeMs, maxGapMs);
      dueMs.push(clockMs / pace.factor);
      beforeMs = ms;
    }
    clockMs += Math.min(toMs - beforeMs, maxGapMs);
  }
  return { ...all, dueMs };
}

async function checkForecast(bench: Bench, oracle: Oracle): Promise<void> {
  const forecast = await bench.forecast();
  const { requests, exact } = forecast;
  expect({ requests, exact }).toEqual({ requests: oracle.total, exact: true });
  if (bench.job.pace.kind === "asap") expect(forecast.durationMs).toBeUndefined();
  else expect(forecast.durationMs).toBeCloseTo(oracle.dueMs.at(-1) ?? 0, 3);
}

function check(progress: JobProgress, bench: Bench, oracle: Oracle): void {
  const { job, total, settled, waiting, leftOut, fates, share, estimated, endsAtMs } = progress;
  const known = job.checkpoint.complete || job.plan?.exact === true;
  expect(estimated).toBe(!known);
  if (known) expect(total).toBe(oracle.total);
  else expect(total).toBeGreaterThanOrEqual(bench.sent.length);
  expect(settled).toBe(bench.fates.size);
  expect(waiting).toBe(bench.sent.length - bench.fates.size);
  expect(leftOut).toBeLessThanOrEqual(oracle.leftOut);
  for (const fate of Object.keys(fates) as Fate[]) expect(fates[fate], fate).toBe(bench.count(fate));
  const part = bench.fates.size / (total || Number.NaN);
  if (part < 0.99) expect(share).toBeCloseTo(part, 9);
  expect(share === 1).toBe(job.checkpoint.complete && bench.fates.size === oracle.total);
  if (known) expect(formatSettled(progress)).toBe(`${bench.fates.size} of ${oracle.total}`);
  const lastMs = oracle.dueMs.at(-1);
  if (lastMs === undefined || !job.anchor || (job.status !== "running" && job.status !== "fed")) {
    return known || !job.anchor ? expect(endsAtMs).toBeUndefined() : undefined;
  }
  const { factor } = { factor: 1, ...job.pace };
  const dueMs = job.anchor.atMs - job.anchor.offsetMs / factor + lastMs;
  if (known) expect(endsAtMs).toBeCloseTo(dueMs, 2);
  else if (job.pace.kind === "speed") expect(endsAtMs).toBeGreaterThan(dueMs - 0.01);
}

/** A real feeder, queue and state store, with a clock of its own. */
class Bench {
  readonly sent: { readonly pack: MessagePack; readonly index: number; readonly key: string }[] = [];
  readonly fates = new Map<string, Fate>();
  readonly #scenario: Scenario;
  readonly #archive: Archive;
  readonly #state: EmbeddedState;
  readonly #feeder: Feeder;
  #nowMs = jobStartMs + 3_600_000;
  #job: Job | undefined;

  static async open(scenario: Scenario): Promise<Bench> {
    const { captured, perPack } = scenario;
    const archive = await captureOf(
      captured.map(({ atMs }) => atMs),
      perPack,
      (i) => ({ path: `/${i}?${["none", "where", "when", "where-when"][captured[i].meets]}` }),
    );
    const bench = new Bench(scenario, archive);
    const { jobs } = bench.#state;
    bench.#job = await startJob({ ...bench.#place, jobs }, bench.#request, bench.#nowMs);
    if (scenario.large) {
      const { plan } = await measureLoop(archive, bench.#job, bench.#target, 0);
      bench.#job = { ...bench.#job, plan };
      await jobs.write(bench.#job, 1);
    }
    return bench;
  }

  private constructor(scenario: Scenario, archive: Archive) {
    const directory = temporaryDirectory();
    const now = () => this.#nowMs;
    const state = EmbeddedState.open(directory, now);
    const queue = EmbeddedQueue.open({ directory, name: "q", now });
    onTestFinished(() => {
      queue.close();
      state.close();
    });
    this.#scenario = scenario;
    this.#archive = archive;
    this.#state = state;
    this.#feeder = new Feeder({
      jobs: state.jobs,
      ledger: state.ledger,
      targets: [new LiveTarget(this.#target, state.controls, now)],
      queueOf: () => ({
        maxMessageBytes: queue.maxMessageBytes,
        send: async (messages) => {
          for (const message of messages) {
            const pack = readMessage(message);
            if (!("requests" in pack)) throw pack;
            for (const { index } of pack.requests) this.sent.push({ pack, index, key: `${pack.id} ${index}` });
          }
          return queue.send(messages);
        },
      }),
      archives: this.#place.captures,
      lookAheadMs: 5_000,
      leadMs: 500,
      leaseMs: 6_000,
      maxWaiting: 1_000,
      log: new LogLines().log,
      now,
    });
  }

  get job(): Job {
    if (!this.#job) throw new Error("no job was started");
    return this.#job;
  }

  forecast() {
    return forecastJob(this.#place, this.#request, this.#nowMs);
  }

  progress(): Promise<JobProgress> {
    return readProgress(this.#state, this.job.id);
  }

  async live(event: Scenario["events"][number]): Promise<void> {
    const { jobs } = this.#state;
    if (event === "pause") await pauseJob(jobs, this.job.id, this.#nowMs).catch(() => {});
    else if (event === "resume") await resumeJob(jobs, this.job.id, this.#nowMs).catch(() => {});
    else if (event === "settle") await this.#settle(Math.ceil((this.sent.length - this.fates.size) / 2));
    else {
      this.#nowMs += event.passMs;
      await this.#feeder.run(signal);
    }
  }

  /** Feeds everything, gives every request a fate, and ends the job. */
  async finish(): Promise<void> {
    await this.live("resume");
    for (let round = 0; round < 1_000; round++) {
      await this.live({ passMs: 20_000 });
      const { job } = await this.progress();
      if (job.status === "done") return;
      if (job.status === "fed") await this.#settle(this.sent.length);
    }
    throw new Error("the job does not end");
  }

  /** The due times of all requests that were sent, in ms after the clock of the job shows 0. */
  dueTimes(): readonly number[] {
    const { pace } = this.job;
    return this.sent.flatMap(({ pack, index }) => {
      const offsetMs = pack.job && offsetOf(pace, pack.job, pack.requests[index]);
      const dueMs = dueAtMs({ pace, anchor: { atMs: 0, offsetMs: 0 } }, offsetMs ?? Number.NaN);
      return dueMs === undefined ? [] : [dueMs];
    });
  }

  count(fate: Fate): number {
    return [...this.fates.values()].filter((each) => each === fate).length;
  }

  async breakObject(which: number): Promise<void> {
    const names: string[] = [];
    for await (const { name } of this.#archive.list({ prefix: "peak/", from: "" })) names.push(name);
    await this.#archive.delete([names[which]]);
    await this.#archive.put(names[which], Buffer.from("damaged"));
  }

  get #target() {
    return target(this.#scenario.when ? { when: { path: new Pattern("when$") } } : {});
  }

  get #place() {
    return { targets: [this.#target], captures: new Map([["peak", this.#archive]]) };
  }

  get #request(): JobRequest {
    const { captured, where, request, cutMs } = this.#scenario;
    const [fromMs, toMs] = [captureStartMs + cutMs[0], captureStartMs + (captured.at(-1)?.atMs ?? 0) + 1 - cutMs[1]];
    // A cut that leaves nothing is no cut.
    const range = captured.some(({ atMs }) => captureStartMs + atMs >= fromMs && captureStartMs + atMs < toMs);
    return {
      capture: "peak",
      target: "staging",
      ...request,
      ...(range && cutMs[0] > 0 && { fromMs }),
      ...(range && cutMs[1] > 0 && { toMs }),
      ...(where && { where: { path: "\\?where" } }),
    };
  }

  async #settle(count: number): Promise<void> {
    const open = this.sent.filter(({ key }) => !this.fates.has(key)).slice(0, count);
    for (const { pack, index, key } of open) {
      const fate = this.#scenario.fates[this.fates.size % this.#scenario.fates.length];
      this.fates.set(key, fate);
      await this.#state.ledger.settle(jobKey(this.job.id), pack.id, new Map([[index, fate]]));
    }
  }
}

const { signal } = new AbortController();
