import type { Jobs } from "../state/port.ts";
import { hasEnded, type Job, type JobStatus } from "./job.ts";
import { resumedAnchor } from "./job-clock.ts";
import { JobError } from "./job-error.ts";

// A write fails if another process, usually the one that feeds the job, has written the job since it was read.
const writeAttempts = 20;

/** Stops the time of a job: none of its requests are sent until it is resumed. Throws `JobError` and `StateError`. */
export function pauseJob(jobs: Jobs, id: string, nowMs: number): Promise<Job> {
  return changeJob(jobs, id, (job) => {
    if (job.status === "paused") return job;
    assertAlive(job, "paused");
    return { ...job, status: "paused", pausedAtMs: nowMs };
  });
}

/** Continues a paused job where its time stopped. Throws `JobError` and `StateError`. */
export function resumeJob(jobs: Jobs, id: string, nowMs: number): Promise<Job> {
  return changeJob(jobs, id, (job) => {
    if (job.status !== "paused") {
      assertAlive(job, "resumed");
      return job;
    }
    const { pausedAtMs: _, ...resumed } = job;
    if (!job.anchor) return { ...resumed, status: "scheduled" };
    return { ...resumed, status: job.checkpoint.complete ? "fed" : "running", anchor: resumedAnchor(job, nowMs) };
  });
}

/** Ends a job: its requests in the target's queue are not sent. Throws `JobError` and `StateError`. */
export function cancelJob(jobs: Jobs, id: string, nowMs: number): Promise<Job> {
  return changeJob(jobs, id, (job) => {
    if (job.status === "cancelled") return job;
    assertAlive(job, "cancelled");
    return toEnded(job, "cancelled", nowMs);
  });
}

/** The job with the status of its end. */
export function toEnded(job: Job, status: JobStatus, nowMs: number): Job {
  const { lease: _lease, pausedAtMs: _pausedAtMs, ...ended } = job;
  return { ...ended, status, endedAtMs: nowMs };
}

/**
 * Reads, changes and writes a job, and retries if another process wrote it meanwhile. Writes nothing if `change`
 * returns the same object. Throws `JobError` and `StateError`.
 */
export async function changeJob(
  jobs: Pick<Jobs, "read" | "write">,
  id: string,
  change: (job: Job) => Job,
): Promise<Job> {
  for (let attempt = 0; attempt < writeAttempts; attempt++) {
    const found = await jobs.read(id);
    if (!found) throw new JobError("UNKNOWN_JOB", `there is no job ${id}; spoa-relay jobs list lists them`);
    const changed = change(found.job);
    if (changed === found.job || (await jobs.write(changed, found.version))) return changed;
  }
  throw new JobError("WRONG_STATUS", `job ${id} is being changed by others at the same time: try again`);
}

function assertAlive(job: Job, verb: string): void {
  if (hasEnded(job))
    throw new JobError("WRONG_STATUS", `job ${job.id} is ${job.status}: it cannot be ${verb} any more`);
}
