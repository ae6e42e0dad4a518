import type { Archive } from "../archive/port.ts";
import { listCapture } from "../capture/capture-index.ts";
import { matches } from "../rules/when.ts";
import type { Job } from "./job.ts";
import { toWhen } from "./job.ts";
import { factorOf } from "./job-clock.ts";
import { readJobPacks } from "./job-packs.ts";
import { type JobPlace, type JobRequest, planJob, shareWithin } from "./job-request.ts";

/** What a job would send, how long it would take, and what it would cost. */
export interface Forecast {
  readonly job: Job;
  /** Requests of all loops. */
  readonly requests: number;
  /** Compressed size in the archive, of all loops. */
  readonly bytes: number;
  /** False if the numbers come from object names, and some objects reach beyond the range: then they are estimates. */
  readonly exact: boolean;
  /** Time from the first to the last request; undefined if only the shadow limits the job. */
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
 * Forecasts a job without starting it. Reads only object names, unless `where` or the target's `when` filters requests:
 * then it reads all objects. Throws the errors of `startJob`, and the signal's reason if it is aborted.
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
  const listed = await sumNames(archive, job);
  const read = job.where || target?.when ? await sumPacks(archive, job, target?.when, signal) : undefined;
  const loopRequests = read?.requests ?? listed.requests;
  const requests = loopRequests * job.loops;
  const share = listed.requests === 0 ? 0 : Math.min(1, loopRequests / listed.requests);
  const bytes = Math.round(listed.bytes * share * job.loops);
  const durationMs = toDuration(job, requests, read?.spanMs ?? listed.spanMs, target?.ratePerSecond);
  const packs = (read?.packs ?? countPacks(job, loopRequests, read?.spanMs ?? listed.spanMs)) * job.loops;
  const chunks = packs * Math.max(1, Math.ceil(bytes / Math.max(1, packs) / billedBytes));
  return {
    job,
    requests,
    bytes,
    exact: read !== undefined || listed.exact,
    ...(durationMs !== undefined && { durationMs }),
    packs,
    sqsDollars: (chunks * transfersPerPack + packs) * dollarsPerRequest,
  };
}

interface Sum {
  readonly requests: number;
  /** Length of one loop, in the time of the job. */
  readonly spanMs: number;
}

/**
 * Sums up objects by name. An object that reaches beyond the range counts in proportion to its time within the range.
 */
async function sumNames(
  archive: Archive,
  job: Job,
): Promise<Sum & { readonly bytes: number; readonly exact: boolean }> {
  const { fromMs, toMs, maxGapMs = Number.POSITIVE_INFINITY } = job;
  let [requests, bytes, spanMs, exact] = [0, 0, 0, true];
  let endMs = fromMs;
  for await (const object of listCapture(archive, job.capture, job)) {
    const firstMs = Math.max(fromMs, object.firstMs);
    const lastMs = Math.min(toMs - 1, object.lastMs);
    const within = firstMs === object.firstMs && lastMs === object.lastMs;
    exact &&= within && firstMs >= endMs;
    const share = shareWithin(object, job);
    requests += object.requests * share;
    bytes += object.bytes * share;
    spanMs += Math.min(Math.max(0, firstMs - endMs), maxGapMs) + Math.max(0, lastMs - Math.max(firstMs, endMs));
    endMs = Math.max(endMs, lastMs);
  }
  spanMs += Math.min(Math.max(0, toMs - endMs), maxGapMs);
  return { requests: Math.round(requests), bytes, spanMs, exact };
}

/** Reads one loop as the job would. */
async function sumPacks(
  archive: Archive,
  job: Job,
  targetWhen: JobPlace["targets"][number]["when"],
  signal: AbortSignal | undefined,
): Promise<Sum & { readonly packs: number }> {
  const where = job.where && toWhen(job.where);
  const takes: Parameters<typeof readJobPacks>[1]["takes"] = (request) =>
    (!where || matches(where, request)) && (!targetWhen || matches(targetWhen, request));
  let last = job.checkpoint;
  for await (const { after } of readJobPacks({ ...job, loops: 1 }, { archive, takes })) {
    signal?.throwIfAborted();
    last = after;
  }
  return { requests: last.requests, packs: last.packs, spanMs: last.mark.offsetMs };
}

function toDuration({ pace, loops }: Job, requests: number, spanMs: number, ratePerSecond = Infinity) {
  const atRateMs = (requests * 1_000) / ratePerSecond;
  if (pace.kind === "speed") return Math.max(atRateMs, (spanMs * loops) / factorOf(pace));
  if (pace.kind === "rate") return Math.max(atRateMs, (requests * 1_000) / pace.perSecond);
  return ratePerSecond === Infinity ? undefined : atRateMs;
}

function countPacks({ pace }: Job, requests: number, spanMs: number): number {
  const bySize = Math.ceil(requests / packRequests);
  if (pace.kind === "asap") return bySize;
  const durationMs = pace.kind === "speed" ? spanMs / pace.factor : (requests * 1_000) / pace.perSecond;
  return Math.min(requests, bySize + Math.ceil(durationMs / packSpanMs));
}
