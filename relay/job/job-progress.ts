import { inCalendar } from "../config/moment.ts";
import { type Fate, fates, type Jobs, type Ledger } from "../state/port.ts";
import { type Job, jobKey } from "./job.ts";
import { dueAtMs } from "./job-clock.ts";
import { JobError } from "./job-error.ts";

/** How far a job is. */
export interface JobProgress {
  readonly job: Job;
  /** Requests that it has in all, by the names of objects: an estimate until everything is fed. */
  readonly total: number;
  /** Requests that it had in all when it was started, by the names of objects. */
  readonly expected: number;
  /** Requests that were put into the target's queue. */
  readonly fed: number;
  /** Requests that have a fate, and those that are left out or cannot be read. */
  readonly settled: number;
  /** Requests in the target's queue and under way. */
  readonly waiting: number;
  readonly fates: Readonly<Record<Fate, number>>;
  /** Of the total, 0 to 1. */
  readonly share: number;
  /** When the last request is due; undefined for a job without due times, one that stands still, or goes on for ever. */
  readonly endsAtMs?: number;
}

/** Reads how far a job is. Throws `JobError` where there is none, and `StateError`. */
export async function readProgress(
  { jobs, ledger }: { readonly jobs: Pick<Jobs, "read">; readonly ledger: Pick<Ledger, "totals"> },
  id: string,
): Promise<JobProgress> {
  const found = await jobs.read(id);
  if (!found) throw new JobError("UNKNOWN_JOB", `there is no job ${id}: see the list of jobs`);
  return toProgress(found.job, (await ledger.totals()).targets.get(jobKey(id)));
}

/** @param totals of the job in the ledger; undefined if nothing of it was fed */
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
  // Silences that are to be cut are not known before.
  const leftMs = checkpoint.complete ? 0 : toMs - mark.capturedAtMs + (loops - loop - 1) * (toMs - fromMs);
  return dueAtMs(job, mark.offsetMs + leftMs);
}

const noFates = Object.fromEntries(fates.map((fate) => [fate, 0])) as Record<Fate, number>;
