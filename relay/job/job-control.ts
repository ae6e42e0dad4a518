import type { Jobs } from "../state/port.ts";
import { hasEnded, type Job, type JobStatus } from "./job.ts";
import { resumedAnchor } from "./job-clock.ts";
import { JobError } from "./job-error.ts";

// Each time somebody else, mostly who feeds the job, was faster.
const writeAttempts = 20;

/** Stops the time of a job: nothing more of it is sent. Throws `JobError` and `StateError`. */
export function pauseJob(jobs: Jobs, id: string, nowMs: number): Promise<Job> {
  return changeJob(jobs, id, (job) => {
    if (job.status === "paused") return job;
    assertAlive(job, "paused");
    return { ...job, status: "paused", pausedAtMs: nowMs };
  });
}

/** Has the time of a job go on where it stopped. Throws `JobError` and `StateError`. */
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

/** Ends a job: what of it waits in the target's queue is not sent any more. Throws `JobError` and `StateError`. */
export function cancelJob(jobs: Jobs, id: string, nowMs: number): Promise<Job> {
  return changeJob(jobs, id, (job) => {
    if (job.status === "cancelled") return job;
    assertAlive(job, "cancelled");
    return toEnded(job, "cancelled", nowMs);
  });
}

/** The job as it stands at its end. */
export function toEnded(job: Job, status: JobStatus, nowMs: number): Job {
  const { lease: _lease, pausedAtMs: _pausedAtMs, ...ended } = job;
  return { ...ended, status, endedAtMs: nowMs };
}

/** Changes a job whoever else does so, too; a change that returns the same job writes nothing. Throws `JobError`. */
export async function changeJob(jobs: Jobs, id: string, change: (job: Job) => Job): Promise<Job> {
  for (let attempt = 0; attempt < writeAttempts; attempt++) {
    const found = await jobs.readJob(id);
    if (!found) throw new JobError("UNKNOWN_JOB", `there is no job ${id}: see the list of jobs`);
    const changed = change(found.job);
    if (changed === found.job || (await jobs.writeJob(changed, found.version))) return changed;
  }
  throw new JobError("WRONG_STATUS", `job ${id} is being changed by others at the same time: try again`);
}

function assertAlive(job: Job, verb: string): void {
  if (hasEnded(job))
    throw new JobError("WRONG_STATUS", `job ${job.id} is ${job.status}: it cannot be ${verb} any more`);
}
