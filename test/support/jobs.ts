import { firstCheckpoint, type Job } from "../../relay/job/job.ts";

/** The time of tests: 2026-11-22T18:00:00Z. */
export const jobStartMs = Date.UTC(2026, 10, 22, 18);

/** A job that runs since `jobStartMs` and replays the ten minutes before it at their own speed. */
export function job(changes: Partial<Job> = {}): Job {
  const fromMs = changes.fromMs ?? jobStartMs - 600_000;
  return {
    id: "20261122-180000-abc",
    capture: "peak",
    target: "staging",
    fromMs,
    toMs: jobStartMs,
    pace: { kind: "speed", factor: 1 },
    loops: 1,
    createdAtMs: jobStartMs,
    total: { requests: 100, bytes: 10_000 },
    status: "running",
    anchor: { atMs: jobStartMs, offsetMs: 0 },
    checkpoint: firstCheckpoint(fromMs),
    ...changes,
  };
}
