import { describe, expect, it } from "vitest";
import { readJobHold } from "../../../relay/commands/job-hold.ts";
import { explainShortfall } from "../../../relay/commands/job-text.ts";
import { parseTimes } from "../../../relay/config/time-windows.ts";
import { forecastJob } from "../../../relay/job/forecast.ts";
import { hasEnded, type Job, parseJob, toRecord } from "../../../relay/job/job.ts";
import { cancelJob, pauseJob, resumeJob } from "../../../relay/job/job-control.ts";
import { readProgress } from "../../../relay/job/job-progress.ts";
import { type JobRequest, planJob, startJob } from "../../../relay/job/job-request.ts";
import { captureOf, captureStartMs, everyMs, job, jobStartMs, newJob } from "../../support/data/jobs.ts";
import { openState } from "../../support/data/lanes.ts";
import { target } from "../../support/data/targets.ts";

const request: JobRequest = { capture: "peak", target: "staging", pace: { kind: "speed", factor: 1 } };

describe("starting a job", () => {
  it("writes it with the range of the capture's objects", async () => {
    const state = openJobState();
    const started = await startJob({ ...(await place(everyMs(61, 1_000))), jobs: state.jobs }, request, jobStartMs);

    expect(started).toMatchObject({ fromMs: captureStartMs, toMs: captureStartMs + 60_001, status: "scheduled" });
    expect(started.total.requests).toBe(61);
    expect(started.id).toMatch(/^20261122-180000-[a-z2-9]{3}$/);
    expect((await state.jobs.read(started.id))?.job).toEqual(started);
  });

  it("uses the requested range without the silences at its ends", async () => {
    const here = await place([...everyMs(40, 750), 500_000]);
    const range = { fromMs: captureStartMs + 10_000, toMs: captureStartMs + 25_000 };
    const wide = { fromMs: captureStartMs - 3_600_000, toMs: captureStartMs + 400_000 };

    expect(await planJob(here, { ...request, ...range }, jobStartMs)).toMatchObject(range);
    expect(await planJob(here, { ...request, ...wide }, jobStartMs)).toMatchObject({
      fromMs: captureStartMs,
      toMs: captureStartMs + 29_251,
    });
  });

  it("estimates how many requests of a partly covered object are in the range", async () => {
    const here = await place(everyMs(1_000, 50));
    const range = { fromMs: captureStartMs + 10_250, toMs: captureStartMs + 11_750 };
    const { total } = await planJob(here, { ...request, ...range }, jobStartMs);

    // Each object has 20 requests in a second.
    expect(total.requests).toBeGreaterThanOrEqual(29);
    expect(total.requests).toBeLessThanOrEqual(32);
  });

  it("includes requests that are captured until a later start", async () => {
    const open = { startAtMs: jobStartMs + 7_200_000, fromMs: captureStartMs, toMs: jobStartMs + 3_600_000 };
    const planned = await planJob(await place([0, 1_000]), { ...request, ...open }, jobStartMs);
    const empty = await planJob(await place([]), { ...request, ...open, fromMs: 0 }, jobStartMs);

    expect(planned).toMatchObject({ fromMs: captureStartMs, toMs: jobStartMs + 3_600_000 });
    expect(empty).toMatchObject({ fromMs: jobStartMs, toMs: jobStartMs + 3_600_000 });
  });

  it.each<[string, Partial<JobRequest>, string, RegExp]>([
    ["an unknown capture", { capture: "paek" }, "UNKNOWN_CAPTURE", /no capture paek; the configuration has: peak/],
    ["an unknown target", { target: "prod" }, "UNKNOWN_TARGET", /no target prod; the configuration has: staging/],
    [
      "a reversed range",
      { fromMs: 2_000, toMs: 1_000 },
      "BAD_RANGE",
      /ends at .*00:00:01.*not after its start.*00:00:02/,
    ],
    ["an empty range", { fromMs: 2_000, toMs: 2_000 }, "BAD_RANGE", /not after its start/],
    [
      "a range without requests",
      { toMs: 1_000 },
      "NOTHING_THERE",
      /from 2026-11-22T17:50:00.000Z to 2026-11-22T17:50:05/,
    ],
    [
      "a start time in the past",
      { startAtMs: jobStartMs - 1 },
      "BAD_TIME",
      /17:59:59.999Z is in the past: it is 2026-11-22T18:00/,
    ],
    [
      "a speed of 0",
      { pace: { kind: "speed", factor: 0 } },
      "BAD_ARGUMENT",
      /the speed must be a finite number above 0, not 0/,
    ],
    [
      "an infinite rate",
      { pace: { kind: "rate", perSecond: Infinity } },
      "BAD_ARGUMENT",
      /the rate must be a finite number above 0, not Infinity/,
    ],
    [
      "a rate that never ends",
      { pace: { kind: "rate", perSecond: 0.009 / 3_600 } },
      "BAD_ARGUMENT",
      /the lowest rate is 0.01\/h/,
    ],
    [
      "a speed that never ends",
      { pace: { kind: "speed", factor: 0.0009 } },
      "BAD_ARGUMENT",
      /the lowest speed is 0.001x/,
    ],
    [
      "a rate that is faster than its clock",
      { pace: { kind: "rate", perSecond: 1e6 + 1 } },
      "BAD_ARGUMENT",
      /the highest rate is 1000000\/s, not 1000001\/s/,
    ],
    [
      "a speed without end",
      { pace: { kind: "speed", factor: 1e300 } },
      "BAD_ARGUMENT",
      /the highest speed is 1000000x/,
    ],
    ["a longest gap of ages", { maxGapMs: 1e12 }, "BAD_ARGUMENT", /at most 31536000000 ms, not 1000000000000 ms/],
    ["half a loop", { loops: 0.5 }, "BAD_ARGUMENT", /from 1 to 1000000, not 0.5/],
    ["a longest gap without gaps", { pace: { kind: "asap" }, maxGapMs: 5 }, "BAD_ARGUMENT", /works only with a speed/],
    ["a longest gap of 0", { maxGapMs: 0 }, "BAD_ARGUMENT", /at least 1 ms, not 0 ms/],
    ["a where with an invalid expression", { where: { path: "(" } }, "BAD_ARGUMENT", /where: .*expression/],
  ])("refuses %s, and says what to do", async (_, changes, code, text) => {
    const planned = planJob(await place(everyMs(6, 1_000)), { ...request, ...changes }, jobStartMs);

    await expect(planned).rejects.toMatchObject({ name: "JobError", code, message: expect.stringMatching(text) });
  });

  it("says that a capture is empty", async () => {
    await expect(planJob(await place([]), request, jobStartMs)).rejects.toThrow("capture peak has no requests yet");
  });
});

describe("a forecast", () => {
  it("reads only object names if nothing is filtered", async () => {
    const { archive, ...rest } = await counted(everyMs(3_000, 10));
    const forecast = await forecastJob({ ...rest, captures: new Map([["peak", archive]]) }, request, jobStartMs);

    expect(archive.reads).toBe(0);
    expect(forecast).toMatchObject({ requests: 3_000, exact: true, packs: expect.any(Number) });
    expect(forecast.durationMs).toBeCloseTo(29_991, -1);
    expect(forecast.packs).toBeGreaterThan(20);
    expect(forecast.packs).toBeLessThan(60);
    // Each pack is sent, received and deleted, at $0.40 a million calls.
    expect(forecast.sqsDollars).toBeCloseTo(forecast.packs * 3 * 4e-7, 9);
  });

  it("counts the requests that match where exactly", async () => {
    const where = { ...request, where: { path: "^/1" }, loops: 2 };
    const forecast = await forecastJob(await place(everyMs(30, 1_000)), where, jobStartMs);

    expect(forecast).toMatchObject({ requests: 22, exact: true });
  });

  it.each<[Partial<JobRequest>, number, number | undefined]>([
    [{ pace: { kind: "speed", factor: 10 } }, Number.POSITIVE_INFINITY, 1_000],
    [{ pace: { kind: "speed", factor: 10 }, loops: 3 }, Number.POSITIVE_INFINITY, 3_000],
    [{ pace: { kind: "rate", perSecond: 2 } }, Number.POSITIVE_INFINITY, 5_000],
    [{ pace: { kind: "asap" } }, Number.POSITIVE_INFINITY, undefined],
    [{ pace: { kind: "asap" } }, 1, 10_000],
    [{ pace: { kind: "speed", factor: 100 } }, 1, 10_000],
  ])("forecasts how long %j takes at a target with %d/s", async (changes, ratePerSecond, durationMs) => {
    const here = { ...(await place(everyMs(11, 1_000))), targets: [target({ ratePerSecond })] };
    const forecast = await forecastJob(here, { ...request, ...changes }, jobStartMs);

    if (durationMs === undefined) expect(forecast.durationMs).toBeUndefined();
    else expect(Math.abs((forecast.durationMs ?? Number.NaN) - durationMs)).toBeLessThan(2);
  });
});

describe("a job", () => {
  it("is paused and resumed, and repeating either changes nothing", async () => {
    const { jobs, id } = await started(job());
    const paused = await pauseJob(jobs, id, jobStartMs + 10_000);
    await pauseJob(jobs, id, jobStartMs + 20_000);
    const resumed = await resumeJob(jobs, id, jobStartMs + 60_000);
    await resumeJob(jobs, id, jobStartMs + 70_000);

    expect(paused).toMatchObject({ status: "paused", pausedAtMs: jobStartMs + 10_000 });
    expect(resumed).toMatchObject({ status: "running", anchor: { atMs: jobStartMs + 70_000, offsetMs: 10_000 } });
    expect((await jobs.read(id))?.job).toEqual(resumed);
  });

  it("is scheduled again if it was paused before its start, and fed if nothing was left to feed", async () => {
    const { jobs, id } = await started(newJob());
    await pauseJob(jobs, id, jobStartMs);
    const fed = await started(job({ checkpoint: { ...job().checkpoint, complete: true }, status: "fed" }));
    await pauseJob(fed.jobs, fed.id, jobStartMs);

    expect((await resumeJob(jobs, id, jobStartMs)).status).toBe("scheduled");
    expect((await resumeJob(fed.jobs, fed.id, jobStartMs)).status).toBe("fed");
  });

  it("cannot be paused or resumed after it is cancelled", async () => {
    const { jobs, id } = await started(job({ lease: { owner: "host", untilMs: jobStartMs } }));
    const cancelled = await cancelJob(jobs, id, jobStartMs + 5);

    expect(cancelled).toMatchObject({ status: "cancelled", endedAtMs: jobStartMs + 5 });
    expect(cancelled.lease).toBeUndefined();
    expect(hasEnded(cancelled)).toBe(true);
    await expect(resumeJob(jobs, id, jobStartMs)).rejects.toMatchObject({ code: "WRONG_STATUS" });
    await expect(pauseJob(jobs, id, jobStartMs)).rejects.toThrow("is cancelled: it cannot be paused any more");
  });

  it("is reported as unknown if there is none", async () => {
    await expect(cancelJob(openJobState().jobs, "20261122-180000-xyz", jobStartMs)).rejects.toMatchObject({
      code: "UNKNOWN_JOB",
    });
    await expect(readProgress(openJobState(), "nope")).rejects.toMatchObject({ code: "UNKNOWN_JOB" });
  });

  it("can be read by the first versions, which refuse a field that they do not know", async () => {
    const plan = { requests: 7, loopMs: 1_000, lastOffsetMs: 900, exact: true };
    const own = job({ plan, where: { path: "^/" }, maxGapMs: 5 });
    const record = toRecord(own);
    const known =
      "id capture target fromMs toMs pace loops maxGapMs where startAtMs createdAtMs total status reason anchor pausedAtMs checkpoint lease endedAtMs";

    expect(known.split(" ")).toEqual(expect.arrayContaining(Object.keys(JSON.parse(record.job))));
    expect(parseJob(own.id, record)).toEqual({ job: own });
  });

  it("reports its progress and its end", async () => {
    const checkpoint = {
      ...job().checkpoint,
      mark: { capturedAtMs: captureStartMs + 60_000, offsetMs: 60_000 },
      requests: 40,
      filtered: 10,
    };
    const { state, id } = await started(job({ checkpoint, pace: { kind: "speed", factor: 2 } }));
    await state.ledger.recordFanOut({
      pack: "p1",
      agent: `job/${id}`,
      sequence: 1,
      requests: 40,
      targets: new Map([[`job/${id}`, new Map()]]),
    });
    await state.ledger.settle(`job/${id}`, "p1", new Map([[0, "answered.2xx"]]));
    const progress = await readProgress(state, id);

    // A fifth of the requests that were read is left out, so 40 of the other 50 are expected.
    expect(progress).toMatchObject({ total: 80, estimated: true, fed: 40, settled: 1, waiting: 39, leftOut: 10 });
    expect(progress.share).toBe(1 / 80);
    expect(progress.endsAtMs).toBe(jobStartMs + 300_000);
  });

  it("reports far fewer requests than expected", async () => {
    const shortfallOf = async (expected: number, complete: boolean) => {
      const checkpoint = { ...job().checkpoint, loop: Number(complete), filtered: 9_000, complete };
      const { state, id } = await started(job({ checkpoint, total: { requests: expected, bytes: 0 } }));
      return explainShortfall(await readProgress(state, id));
    };

    expect(await shortfallOf(20_000, true)).toMatch(/^the capture had about 20,000 requests .* may have expired/);
    expect(await shortfallOf(20_000, false)).toBeUndefined();
    expect(await shortfallOf(9_900, true)).toBeUndefined();
  });

  it("says what holds its target, but only while it is running", async () => {
    const state = openJobState();
    const openedAtMs = Date.UTC(2026, 10, 22, 18);
    const breaker = { openedAtMs, probeAtMs: openedAtMs, probes: 0, reason: "connect ECONNREFUSED\u001b[2J" };
    const always = parseTimes("00:00-24:00 UTC");
    const blackouts = always ? [always] : [];
    const before = await readJobHold(state.controls, [target()], job());
    await state.controls.write("staging", { breaker }, 0);

    expect(before).toBeUndefined();
    expect(await readJobHold(state.controls, [target()], job({ status: "fed" }))).toMatch(
      /^staging is held: the breaker has been open since 2026-11-22T18:00:00.000Z: connect ECONNREFUSED\P{Cc}+$/u,
    );
    expect(await readJobHold(state.controls, [target({ blackouts })], job())).toBe(
      "staging is held: blackout 00:00-24:00 UTC",
    );
    expect(await readJobHold(state.controls, [target()], job({ status: "paused" }))).toBeUndefined();
  });

  it("reports no end beyond the calendar", async () => {
    const { state, id } = await started(job({ pace: { kind: "speed", factor: 0.001 }, loops: 1_000_000, fromMs: 0 }));

    expect((await readProgress(state, id)).endsAtMs).toBeUndefined();
  });
});

/** A state at the time of the jobs: by the real clock, ended jobs would expire. */
function openJobState() {
  return openState(() => jobStartMs);
}

async function place(timesMs: readonly number[]) {
  return { targets: [target()], captures: new Map([["peak", await captureOf(timesMs)]]) };
}

async function counted(timesMs: readonly number[]) {
  const archive = await captureOf(timesMs, 100);
  let reads = 0;
  return {
    targets: [target()],
    archive: {
      put: (name: string, bytes: Uint8Array) => archive.put(name, bytes),
      list: (range: Parameters<typeof archive.list>[0]) => archive.list(range),
      delete: (names: readonly string[]) => archive.delete(names),
      get(name: string) {
        reads++;
        return archive.get(name);
      },
      get reads() {
        return reads;
      },
    },
  };
}

async function started(begun: Job) {
  const state = openJobState();
  await state.jobs.write(begun, 0);
  return { state, jobs: state.jobs, id: begun.id };
}
