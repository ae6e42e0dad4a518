import type { Job } from "./job.ts";

/**
 * The job with its times moved by so much, because the wall clock was set: it continues where it was. Times that mean a moment,
 * such as that of its start, stay.
 */
export function shiftJob(job: Job, byMs: number): Job {
  const { anchor, pausedAtMs, lease } = job;
  return {
    ...job,
    ...(anchor && { anchor: { ...anchor, atMs: anchor.atMs + byMs } }),
    ...(pausedAtMs !== undefined && { pausedAtMs: pausedAtMs + byMs }),
    ...(lease && { lease: { ...lease, untilMs: lease.untilMs + byMs } }),
  };
}
