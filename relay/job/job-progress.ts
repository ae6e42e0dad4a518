import { inCalendar } from "../config/moment.ts";
import { type Fate, fates, type Jobs, type Ledger } from "../state/port.ts";
import { type Job, jobKey } from "./job.ts";
import { dueAtMs } from "./job-clock.ts";
import { JobError } from "./job-error.ts";

/** Progress of a job. */
export interface JobProgress {
  readonly job: Job;
  /** Number of requests that it sends, in all loops. An estimate if `estimated`. */
  readonly total: number;
  /** True until everything is fed, if the requests of the capture could not be counted at the start. */
  readonly estimated: boolean;
  /** Requests that were put into the target's queue. */
  readonly fed: number;
  /** Those of them that have a fate: they were answered, or will not be sent any more. */
  readonly settled: number;
  /** Requests in the target's queue or in flight. */
  readonly waiting: number;
  /** Requests that `where` or the target's `when` left out so far. */
  readonly leftOut: number;
  /** Requests in the parts of the capture that could not be read so far. */
  readonly unreadable: number;
  /** Requests that the job missed: the capture had them at the start, as far as the names of its objects tell. */
  readonly missing: number;
  readonly fates: Readonly<Record<Fate, number>>;
  /** `settled` as a share of `total`, 0 to 1; below 1 until everything is fed. */
  readonly share: number;
  /**
   * When the last request is due, in ms since 1970. If `estimated`: the latest time at which it may be due, or in a job with a
   * rate an estimate. Undefined without due times, if nothing is sent, while paused, or beyond the calendar.
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
  const { checkpoint, loops, plan } = job;
  const counts = totals?.fates ?? noFates;
  const fed = totals?.enqueued ?? 0;
  const settled = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const { filtered: leftOut, skippedRequests: unreadable, complete } = checkpoint;
  const total = complete ? fed : Math.max(fed, plan?.exact ? plan.requests * loops : estimateTotal(job));
  const endMs = job.status === "running" || job.status === "fed" ? endOf(job, total) : undefined;
  const endsAtMs = endMs === undefined ? undefined : inCalendar(endMs);
  const share = total === 0 ? Number(complete) : settled / total;
  return {
    job,
    total,
    estimated: !complete && !plan?.exact,
    fed,
    settled,
    waiting: fed - settled,
    leftOut,
    unreadable,
    // A job whose first loop sends nothing ends with it.
    missing: complete ? Math.max(0, job.total.requests * checkpoint.loop - fed - leftOut - unreadable) : 0,
    fates: counts,
    share: complete ? share : Math.min(share, mostUnfinished),
    ...(endsAtMs !== undefined && { endsAtMs }),
  };
}

// A job that is not fed is not done, even if it has found more requests than it expected.
const mostUnfinished = 0.999;

/** As many of the requests that were not read yet are sent as of those that were. */
function estimateTotal({ checkpoint, loops, total }: Job): number {
  const { requests, filtered, skippedRequests } = checkpoint;
  const read = requests + filtered;
  const unread = Math.max(0, total.requests * loops - read - skippedRequests);
  return requests + Math.round(unread * (read === 0 ? 1 : requests / read));
}

/** When the last request is due; undefined if there is none, or if it has no due time. */
function endOf(job: Job, requests: number): number | undefined {
  const { pace, checkpoint, loops, fromMs, toMs, plan } = job;
  if (requests === 0) return undefined;
  if (pace.kind === "rate") return dueAtMs(job, ((requests - 1) * 1_000) / pace.perSecond);
  const { mark, loop, complete } = checkpoint;
  if (complete) return dueAtMs(job, mark.offsetMs);
  const { loopMs, lastOffsetMs } = plan ?? { loopMs: toMs - fromMs, lastOffsetMs: toMs - fromMs };
  const plannedMs = (loops - 1) * loopMs + lastOffsetMs;
  // An upper bound without a plan that is exact: silences within the rest of the loop may be shortened.
  const boundMs = mark.offsetMs + toMs - mark.capturedAtMs + (loops - 1 - loop) * loopMs;
  return dueAtMs(job, Math.max(mark.offsetMs, plan?.exact ? plannedMs : Math.min(plannedMs, boundMs)));
}

const noFates = Object.fromEntries(fates.map((fate) => [fate, 0])) as Record<Fate, number>;
