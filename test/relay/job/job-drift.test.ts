import fc from "fast-check";
import { expect, it } from "vitest";
import type { Job } from "../../../relay/job/job.ts";
import { JobGate } from "../../../relay/job/job-gate.ts";
import { type JobStep, readJobPacks } from "../../../relay/job/job-packs.ts";
import { JobWatch } from "../../../relay/job/job-watch.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { readMessage, shareMessage } from "../../../relay/queue/message.ts";
import { ManualClock } from "../../support/clocks/manual-clock.ts";
import { captureOf, captureStartMs, job, jobStartMs } from "../../support/data/jobs.ts";

const hourMs = 3_600_000;
const oversleptMs = 20;
const { signal } = new AbortController();

// Real time between requests: bursts, seconds, and silences of up to three hours.
const gapsMs = fc.array(fc.oneof(fc.nat(5), fc.nat(2_000), fc.integer({ min: hourMs / 4, max: 3 * hourMs })), {
  minLength: 20,
  maxLength: 200,
});
const factors = fc.oneof(fc.constantFrom(0.1, 1, 2, 10, 100), fc.double({ min: 0.05, max: 500, noNaN: true }));

it("sends each request of a job within the error of one timer, even after hours", {
  timeout: 60_000,
}, async () => {
  let longestMs = 0;
  await fc.assert(
    fc.asyncProperty(factors, gapsMs, fc.array(fc.nat(oversleptMs), { minLength: 5 }), async (factor, gaps, late) => {
      let at = 0;
      const timesMs = gaps.map((gapMs) => (at += Math.floor(gapMs * factor)));
      const toMs = captureStartMs + at + 1;
      const replayed = job({ pace: { kind: "speed", factor }, toMs });
      const arrivals = await replay(replayed, timesMs, late);

      expect(arrivals.map(({ path }) => path)).toEqual(timesMs.map((_, i) => `/${i}`));
      for (const [i, { atMs }] of arrivals.entries()) {
        const dueMs = jobStartMs + timesMs[i] / factor;
        expect(atMs - dueMs).toBeGreaterThan(-0.01);
        expect(atMs - dueMs).toBeLessThanOrEqual(oversleptMs + 1);
        longestMs = Math.max(longestMs, dueMs - jobStartMs);
      }
    }),
    { numRuns: 40 },
  );
  expect(longestMs).toBeGreaterThan(10 * hourMs);
});

/** Sends packs one after the other as a worker does; packs that are not due soon are delayed by whole seconds. */
async function replay(replayed: Job, timesMs: readonly number[], lateMs: readonly number[]) {
  let sleeps = 0;
  const clock = new ManualClock(jobStartMs * 1_000, () => lateMs[sleeps++ % lateMs.length] * 1_000);
  const nowMs = () => clock.nowUs() / 1_000;
  const watch = new JobWatch({ read: async () => ({ job: replayed, version: 1 }) }, nowMs);
  const arrivals: { readonly path: string; readonly atMs: number }[] = [];
  // Reads everything first: the manual clock advances only for sleepers, not for file reads.
  const steps: JobStep[] = [];
  const source = { archive: await captureOf(timesMs, 7), takes: () => true };
  for await (const step of readJobPacks(replayed, source)) steps.push(step);
  const send = async () => {
    for (const step of steps) {
      if (step.kind !== "pack") continue;
      const pack = readMessage(shareMessage(step.pack, step.pack.requests, { attempt: 0 }));
      if (pack instanceof DecodeError || !pack.job) throw new Error("not a pack of a job");
      const gate = new JobGate(pack.job, watch, clock);
      for (const request of pack.requests) {
        for (;;) {
          const passage = await gate.pass(request, signal, true);
          if (passage.kind === "due") break;
          if (passage.kind === "cancelled") throw new Error("cancelled");
          await clock.sleepUntil((nowMs() + Math.ceil(passage.delayMs / 1_000) * 1_000) * 1_000, signal);
        }
        arrivals.push({ path: request.path, atMs: nowMs() });
      }
    }
  };
  const sent = send().then(() => true);
  while (!(await Promise.race([sent, clock.runUntil(clock.nowUs() + hourMs * 1_000).then(() => false)])));
  return arrivals;
}
