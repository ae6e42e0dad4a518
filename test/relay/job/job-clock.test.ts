import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Job } from "../../../relay/job/job.ts";
import { dueAtMs, offsetAt, resumedAnchor } from "../../../relay/job/job-clock.ts";
import { job, jobStartMs } from "../../support/data/jobs.ts";

const factors = fc.oneof(fc.constantFrom(0.1, 1, 2, 10, 100), fc.double({ min: 0.01, max: 1_000, noNaN: true }));

describe("the time of a job", () => {
  it("makes each request due at its distance from the anchor divided by the speed, without drift", () => {
    fc.assert(
      fc.property(factors, fc.nat(40_000_000), (factor, offsetMs) => {
        const due = dueAtMs(job({ pace: { kind: "speed", factor } }), offsetMs) ?? Number.NaN;

        expect(Math.abs((due - jobStartMs) * factor - offsetMs)).toBeLessThanOrEqual(0.001 * Math.max(1, factor));
      }),
    );
  });

  it("converts a time to an offset and back", () => {
    fc.assert(
      fc.property(factors, fc.nat(4_000_000), (factor, ms) => {
        const timed = job({ pace: { kind: "speed", factor } });

        expect(dueAtMs(timed, offsetAt(timed, jobStartMs + ms))).toBeCloseTo(jobStartMs + ms, 2);
      }),
    );
  });

  it("stops during pauses: each pause delays later requests by its length", () => {
    const pauses = fc.array(fc.record({ runMs: fc.nat(100_000), pauseMs: fc.nat(5_000_000) }), { maxLength: 8 });
    fc.assert(
      fc.property(factors, pauses, (factor, spans) => {
        let now = jobStartMs;
        let paused: Job = job({ pace: { kind: "speed", factor } });
        for (const { runMs, pauseMs } of spans) {
          const pausedAtMs = Math.max(now, paused.anchor?.atMs ?? 0) + runMs;
          now = pausedAtMs + pauseMs;
          paused = { ...paused, anchor: resumedAnchor({ ...paused, pausedAtMs }, now) };
        }
        // A pause of more than 15 s adds 10 s, until the packs in the queue are available again.
        const pausedMs = spans.reduce((sum, { pauseMs }) => sum + pauseMs + (pauseMs > 15_000 ? 10_000 : 0), 0);

        const due = dueAtMs(paused, 10_000_000 * factor) ?? Number.NaN;
        expect(Math.abs(due - (jobStartMs + pausedMs + 10_000_000))).toBeLessThan(0.1);
      }),
    );
  });

  it("has no due times for a job that sends as fast as possible or has not begun", () => {
    const { anchor: _, ...waiting } = job();

    expect(dueAtMs(job({ pace: { kind: "asap" } }), 5)).toBeUndefined();
    expect(dueAtMs(waiting, 5)).toBeUndefined();
  });
});
