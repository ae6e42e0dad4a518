import type { Archive } from "../archive/port.ts";
import type { Job, LoopPlan } from "./job.ts";
import { factorOf } from "./job-clock.ts";
import { type JobPlace, type JobRequest, planJob } from "./job-request.ts";
import { measureLoop, quickReadBytes } from "./loop-plan.ts";

/** What a job would send, how long it would take, and what it would cost. */
export interface Forecast {
  readonly job: Job;
  /** Requests of all loops. */
  readonly requests: number;
  /** Compressed size in the archive, of all loops. */
  readonly bytes: number;
  /** False if the numbers are estimates, from the names of objects of which some overlap or reach beyond the range. */
  readonly exact: boolean;
  /** Time from the start to the last request; undefined if only the shadow limits the job. */
  readonly durationMs?: number;
  /** Messages in the target's queue. */
  readonly packs: number;
  /** Cost of the packs in US dollars if the target's queue is in SQS. */
  readonly sqsDollars: number;
}

// SQS bills $0.40 for a million requests of up to 64 KB each.
const dollarsPerRequest = 0.4 / 1e6;
const billedBytes = 64 * 1024;
// Each pack is sent and received (billed by size), and deleted (billed once).
const transfersPerPack = 2;
const packRequests = 300;
const packSpanMs = 1_000;

/**
 * Forecasts a job without starting it. Reads only the names of objects if they say enough; reads all objects if `where`, the
 * target's `when` or a longest gap make the figures depend on the requests. Throws the errors of `startJob`, and the signal's
 * reason if it is aborted.
 */
export async function forecastJob(
  place: JobPlace,
  request: JobRequest,
  nowMs: number,
  signal?: AbortSignal,
): Promise<Forecast> {
  const job = await planJob(place, request, nowMs);
  const archive = place.captures.get(job.capture) as Archive;
  const target = place.targets.find(({ name }) => name === job.target);
  const depends = job.where !== undefined || target?.when !== undefined || job.maxGapMs !== undefined;
  const maxReadBytes = depends ? Number.POSITIVE_INFINITY : quickReadBytes;
  const { plan, packs: readPacks, ...measured } = await measureLoop(archive, job, target, maxReadBytes, signal);
  const requests = plan.requests * job.loops;
  const share = job.total.requests === 0 ? 0 : Math.min(1, plan.requests / job.total.requests);
  const bytes = Math.round(measured.bytes * share * job.loops);
  const durationMs = toDuration(job, requests, plan, target?.ratePerSecond);
  const packs = (readPacks ?? countPacks(job, plan)) * job.loops;
  const chunks = packs * Math.max(1, Math.ceil(bytes / Math.max(1, packs) / billedBytes));
  return {
    job,
    requests,
    bytes,
    exact: plan.exact,
    ...(durationMs !== undefined && { durationMs }),
    packs,
    sqsDollars: (chunks * transfersPerPack + packs) * dollarsPerRequest,
  };
}

/** @param ratePerSecond highest rate of the target */
function toDuration({ pace, loops }: Job, requests: number, plan: LoopPlan, ratePerSecond = Infinity) {
  const later = Math.max(0, requests - 1);
  const atRateMs = (later * 1_000) / ratePerSecond;
  if (pace.kind === "rate") return Math.max(atRateMs, (later * 1_000) / pace.perSecond);
  if (pace.kind === "asap") return ratePerSecond === Infinity ? undefined : atRateMs;
  const lastMs = requests === 0 ? 0 : (loops - 1) * plan.loopMs + plan.lastOffsetMs;
  return Math.max(atRateMs, lastMs / factorOf(pace));
}

function countPacks({ pace }: Job, { requests, loopMs }: LoopPlan): number {
  const bySize = Math.ceil(requests / packRequests);
  if (pace.kind === "asap") return bySize;
  const durationMs = pace.kind === "speed" ? loopMs / pace.factor : (requests * 1_000) / pace.perSecond;
  return Math.min(requests, bySize + Math.ceil(durationMs / packSpanMs));
}
