import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sumCapture } from "../../../relay/capture/capture-index.ts";
import type { Checkpoint, Job, Pace } from "../../../relay/job/job.ts";
import { type JobSource, type JobStep, readJobPacks } from "../../../relay/job/job-packs.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { offsetOf } from "../../../relay/queue/job-mark.ts";
import { type MessagePack, readMessage, shareMessage } from "../../../relay/queue/message.ts";
import { captureOf, everyMs, job } from "../../support/data/jobs.ts";

const all = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };
const times = fc
  .array(fc.oneof(fc.constantFrom(0, 1), fc.nat(200), fc.nat(9_000), fc.nat(60_000)), { minLength: 1, maxLength: 60 })
  .map((gaps) => {
    let at = 0;
    return gaps.map((gap) => (at += gap)).filter((ms) => ms < 600_000);
  });
const paces: fc.Arbitrary<Pace> = fc.oneof(
  fc.constantFrom(0.1, 1, 10, 100, 0.7).map((factor) => ({ kind: "speed" as const, factor })),
  fc.constantFrom(1, 3, 100).map((perSecond) => ({ kind: "rate" as const, perSecond })),
  fc.constant({ kind: "asap" as const }),
);
const gaps = fc.option(fc.integer({ min: 1, max: 10_000 }), { nil: undefined });

describe("the packs of a job", () => {
  it("have each request at its offset, at any pace, with shortened gaps, in all loops", {
    timeout: 30_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(times, paces, gaps, fc.integer({ min: 1, max: 3 }), async (timesMs, pace, maxGapMs, loops) => {
        const archive = await captureOf(timesMs, 7);
        const whole = job({ pace, loops, ...(maxGapMs !== undefined && { maxGapMs }) });
        const found = requestsOf(await read(whole, { archive }), pace);

        // The reference adds up the gaps one by one.
        const cut = (gapMs: number) => Math.min(gapMs, maxGapMs ?? Number.POSITIVE_INFINITY);
        const expected: { path: string; offsetMs: number | undefined }[] = [];
        let offsetMs = 0;
        for (let loop = 0; loop < loops; loop++) {
          let last = 0;
          for (const [i, ms] of timesMs.entries()) {
            offsetMs += cut(ms - last);
            last = ms;
            const byNumber = pace.kind === "rate" ? (expected.length * 1_000) / pace.perSecond : undefined;
            expected.push({ path: `/${i}`, offsetMs: pace.kind === "speed" ? offsetMs : byNumber });
          }
          offsetMs += cut(600_000 - last);
        }
        expect(found.map(({ path }) => path)).toEqual(expected.map(({ path }) => path));
        for (const [i, { offsetMs: ms }] of found.entries()) {
          if (expected[i].offsetMs === undefined) expect(ms).toBeUndefined();
          else expect(ms).toBeCloseTo(expected[i].offsetMs, 6);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("are the same from every checkpoint", { timeout: 30_000 }, async () => {
    const where = fc.constantFrom(1, 2, 5);
    await fc.assert(
      fc.asyncProperty(times, paces, gaps, where, async (timesMs, pace, maxGapMs, every) => {
        const archive = await captureOf(timesMs, 7);
        const takes: JobSource["takes"] = ({ path }) => Number(path.slice(1)) % every === 0;
        const whole = job({ pace, loops: 2, ...(maxGapMs !== undefined && { maxGapMs }) });
        const steps = await read(whole, { archive, takes });

        for (const [i, { after }] of steps.entries()) {
          const rest = await read({ ...whole, checkpoint: throughJson(after) }, { archive, takes });
          expect(idsOf(rest)).toEqual(idsOf(steps.slice(i + 1)));
        }
      }),
      { numRuns: 30 },
    );
  });

  it("span at most a second and 300 requests", async () => {
    const archive = await captureOf(everyMs(2_000, 1));
    const steps = packsOf(await read(job({ toMs: job().fromMs + 2_000 }), { archive }));
    const sparse = await read(job(), { archive: await captureOf(everyMs(20, 400)) });

    expect(steps.map(({ pack }) => pack.requests.length)).toEqual([300, 300, 300, 300, 300, 300, 200]);
    expect(packsOf(sparse).map(({ pack }) => pack.requests.length)).toEqual([3, 3, 3, 3, 3, 3, 2]);
    expect(packsOf(sparse).map(({ pack }) => pack.sequence)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it("keep every byte of a request and its id through a queue", async () => {
    const body = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const archive = await captureOf([5, 6], 2, (i) => ({ body, method: "POST", id: i === 0 ? "own" : "" }));
    const [{ pack }] = packsOf(await read(job(), { archive }));
    const { body: summary, pack: sealed } = shareMessage(pack, pack.requests, { attempt: 0 });
    const received = readMessage({ body: summary, pack: sealed });
    if (received instanceof DecodeError) throw received;

    expect(received).toMatchObject({ id: pack.id, agent: "job/20261122-180000-abc", sequence: 1, job: pack.job });
    expect(received.requests.map(({ id }) => id)).toEqual(["own", expect.stringMatching(/^[0-9a-f]{32}-1$/)]);
    for (const [i, request] of received.requests.entries()) {
      const { record: _, ...expected } = pack.requests[i];
      expect({ ...request, body: Buffer.from(request.body) }).toMatchObject({ ...expected, body });
      expect(Buffer.from(request.body).equals(body)).toBe(true);
    }
  });

  it("contain the selected requests, and count the others", async () => {
    const archive = await captureOf(everyMs(5_000, 100), 100);
    const steps = await read(job(), { archive, takes: ({ path }) => path === "/4999" });

    expect(requestsOf(steps, job().pace).map(({ path }) => path)).toEqual(["/4999"]);
    expect(steps.at(-1)?.after).toMatchObject({ requests: 1, filtered: 4_999, complete: true });
    expect(steps.length).toBeGreaterThan(4);
  });

  it("are read with pauses in which the event loop can send due requests", async () => {
    const archive = await captureOf(everyMs(5_000, 1), 1_000);
    const turnsOf = async (takes: JobSource["takes"]) => {
      let turns = 0;
      let reading = true;
      const count = () => {
        turns++;
        if (reading) setImmediate(count);
      };
      setImmediate(count);
      await read(job({ pace: { kind: "asap" } }), { archive, takes });
      reading = false;
      return turns;
    };

    expect(await turnsOf(() => false)).toBeGreaterThan(30);
    expect(await turnsOf(() => true)).toBeGreaterThan(30);
  });

  it("end after a loop without any request", async () => {
    const archive = await captureOf(everyMs(10, 100));
    const steps = await read(job({ loops: 1_000_000 }), { archive, takes: () => false });

    expect(steps.at(-1)?.after).toMatchObject({ requests: 0, filtered: 10, complete: true });
  });

  it("leave out, name and count a broken object", async () => {
    const archive = await captureOf(everyMs(60, 1_000));
    const { objects } = await sumCapture(archive, "peak", all);
    const names: string[] = [];
    for await (const { name } of archive.list({ prefix: "" })) names.push(name);
    await archive.delete([names[1]]);
    await archive.put(names[1], Buffer.from("broken"));
    const skipped: string[] = [];
    const steps = await read(job(), { archive, onSkip: ({ name }) => skipped.push(name) });

    expect(objects).toBe(3);
    expect(skipped).toEqual([names[1]]);
    expect(steps.at(-1)?.after).toMatchObject({ requests: 40, skippedParts: 1, skippedRequests: 20, complete: true });
  });
});

async function read(whole: Job, source: Pick<JobSource, "archive"> & Partial<JobSource>): Promise<readonly JobStep[]> {
  const steps: JobStep[] = [];
  for await (const step of readJobPacks(whole, { takes: () => true, ...source })) steps.push(step);
  return steps;
}

function packsOf(steps: readonly JobStep[]) {
  return steps.filter((step) => step.kind === "pack");
}

function idsOf(steps: readonly JobStep[]): readonly string[] {
  return packsOf(steps).map(({ pack }) => `${pack.id} ${pack.sequence} ${JSON.stringify(pack.job)}`);
}

/** The path and offset of each request as a worker sees them. */
function requestsOf(steps: readonly JobStep[], pace: Pace) {
  return packsOf(steps).flatMap(({ pack }) => {
    const whole = throughQueue(pack);
    return whole.requests.map((request) => ({
      path: request.path,
      offsetMs: offsetOf(pace, whole.job ?? { id: "" }, request),
    }));
  });
}

function throughQueue(pack: MessagePack): MessagePack {
  const received = readMessage(shareMessage(pack, pack.requests, { attempt: 0 }));
  if (received instanceof DecodeError) throw received;
  return received;
}

function throughJson(checkpoint: Checkpoint): Checkpoint {
  return JSON.parse(JSON.stringify(checkpoint)) as Checkpoint;
}
