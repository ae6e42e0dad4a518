import { inCalendar } from "../config/moment.ts";
import { type Fate, fates, type Jobs, type Ledger } from "../state/port.ts";
import { type Job, jobKey } from "./job.ts";
import { dueAtMs } from "./job-clock.ts";
import { JobError } from "./job-error.ts";

/** Progress of a job. */
export interface JobProgress {
  readonly job: Job;
  /** Number of all its requests: an estimate from object names until everything is fed. */
  readonly total: number;
  /** Number of requests that was expected at its start, from object names. */
  readonly expected: number;
  /** Requests that were put into the target's queue. */
  readonly fed: number;
  /** Requests that have a fate, were left out or could not be read. */
  readonly settled: number;
  /** Requests in the target's queue or in flight. */
  readonly waiting: number;
  readonly fates: Readonly<Record<Fate, number>>;
  /** `settled` as a share of `total`, 0 to 1. */
  readonly share: number;
  /**
   * When the last request is due, in ms since 1970; undefined without due times, while paused, or beyond the calendar.
   */
  readonly endsAtMs?: number;
}

/** Reads the progress of a job. Throws `JobError` if there is no such job, and `StateError`. */
export async function readProgress(
  { jobs, ledger }: { readonly jobs: Pick<Jobs, "read">; readonly ledger: Pick<Ledger, "totals"> },
  id: string,
): Promise<JobProgress> {
  const found = await jobs.read(id);
  if (!found) throw new JobError("UNKNOWN_JOB", `there is no job ${id}; spoa-relay jobs list lists them`);
  return toProgress(found.job, (await ledger.totals()).targets.get(jobKey(id)));
}

/** @param totals the job's totals in the ledger; undefined if nothing was fed yet */
export function toProgress(
  job: Job,
  totals: { readonly enqueued: number; readonly fates: Readonly<Record<Fate, number>> } | undefined,
): JobProgress {
  const { checkpoint, loops } = job;
  const counts = totals?.fates ?? noFates;
  const fed = totals?.enqueued ?? 0;
  const done = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const leftOut = checkpoint.filtered + checkpoint.skippedRequests;
  const expected = job.total.requests * loops;
  const total = checkpoint.complete ? fed + leftOut : Math.max(expected, fed + leftOut);
  const settled = done + leftOut;
  const endMs = job.status === "running" || job.status === "fed" ? endOf(job) : undefined;
  const endsAtMs = endMs === undefined ? undefined : inCalendar(endMs);
  return {
    job,
    total,
    expected,
    fed,
    settled,
    waiting: fed - done,
    fates: counts,
    share: total === 0 ? Number(checkpoint.complete) : settled / total,
    ...(endsAtMs !== undefined && { endsAtMs }),
  };
}

function endOf(job: Job): number | undefined {
  const { pace, checkpoint, loops, fromMs, toMs, total } = job;
  if (pace.kind === "rate") {
    const requests = total.requests * loops - checkpoint.filtered - checkpoint.skippedRequests;
    return dueAtMs(job, (Math.max(requests, checkpoint.requests) * 1_000) / pace.perSecond);
  }
  const { mark, loop } = checkpoint;
  // An upper bound: silences that will be shortened are not known yet.
  const leftMs = checkpoint.complete ? 0 : toMs - mark.capturedAtMs + (loops - loop - 1) * (toMs - fromMs);
  return dueAtMs(job, mark.offsetMs + leftMs);
}

const noFates = Object.fromEntries(fates.map((fate) => [fate, 0])) as Record<Fate, number>;
