import { type Archive, ArchiveError } from "../archive/port.ts";
import { listCapture, shareWithin } from "../capture/capture-index.ts";
import type { TargetConfig } from "../config/config.ts";
import { matches } from "../rules/when.ts";
import { type Job, type LoopPlan, toWhen } from "./job.ts";
import { loopEndMs, readJobPacks } from "./job-packs.ts";

/** What one loop of a job sends, and its size. */
export interface MeasuredLoop {
  readonly plan: LoopPlan;
  /** Compressed size of its range in the archive. */
  readonly bytes: number;
  /** Messages in the target's queue; undefined if the loop was not read. */
  readonly packs?: number;
}

type Target = Pick<TargetConfig, "when">;

/** How much a job reads at its start to know its figures, compressed: some seconds of reading. */
export const quickReadBytes = 32 * 1024 * 1024;
// Opening an object in S3 takes as long as reading this much: 30,000 small objects would take a quarter of an hour.
const leastObjectBytes = 96 * 1024;

/**
 * Measures a loop by the names of its objects, and reads the objects if the names do not say it all: with `where`, the target's
 * `when` or a longest gap, and if objects overlap or reach beyond the range. A loop with more than `maxReadBytes` of objects,
 * of which each counts for 96 KiB or more, is not read. Throws `ArchiveError` if the archive cannot be listed, and the signal's reason if it is aborted.
 */
export async function measureLoop(
  archive: Archive,
  job: Job,
  target: Target | undefined,
  maxReadBytes: number,
  signal?: AbortSignal,
): Promise<MeasuredLoop> {
  const { readBytes, ...named } = await sumNames(archive, job);
  const chosen = job.where !== undefined || target?.when !== undefined;
  const plain = !chosen && (job.maxGapMs === undefined || job.pace.kind !== "speed");
  if (plain && named.plan.exact) return named;
  if (readBytes > maxReadBytes) return { ...named, plan: { ...named.plan, exact: false } };
  try {
    return { ...named, ...(await readLoop(archive, job, target, signal)) };
  } catch (error) {
    // The names suffice to start a job: whoever starts it may be allowed to list the capture, but not to read it.
    if (!(error instanceof ArchiveError)) throw error;
    return { ...named, plan: { ...named.plan, exact: false } };
  }
}

/**
 * Sums up objects by name. An object that reaches beyond the range counts in proportion to its time within the range. The
 * times are upper bounds: silences within an object are unknown, but none counts for more than the longest gap.
 */
async function sumNames(archive: Archive, job: Job): Promise<MeasuredLoop & { readonly readBytes: number }> {
  const { fromMs, toMs, maxGapMs = Number.POSITIVE_INFINITY } = job;
  let [requests, bytes, readBytes, lastOffsetMs, exact] = [0, 0, 0, 0, true];
  let endMs = fromMs;
  for await (const object of listCapture(archive, job.capture, job)) {
    const firstMs = Math.max(fromMs, object.firstMs);
    const lastMs = Math.min(toMs - 1, object.lastMs);
    const within = firstMs === object.firstMs && lastMs === object.lastMs;
    exact &&= within && firstMs >= endMs;
    const share = shareWithin(object, job);
    requests += object.requests * share;
    bytes += object.bytes * share;
    readBytes += Math.max(object.bytes, leastObjectBytes);
    lastOffsetMs += Math.min(Math.max(0, firstMs - endMs), maxGapMs);
    const spanMs = Math.max(0, lastMs - Math.max(firstMs, endMs));
    // A silence may also lie between the first request after a cut and the cut.
    const gaps = within && firstMs >= endMs ? object.requests - 1 : object.requests;
    lastOffsetMs += Math.min(spanMs, gaps * Math.min(spanMs, maxGapMs));
    endMs = Math.max(endMs, lastMs);
  }
  const loopMs = loopEndMs(job, { capturedAtMs: endMs, offsetMs: lastOffsetMs });
  return { plan: { requests: Math.round(requests), loopMs, lastOffsetMs, exact }, bytes, readBytes };
}

/** Reads one loop as the job does. */
async function readLoop(
  archive: Archive,
  job: Job,
  target: Target | undefined,
  signal: AbortSignal | undefined,
): Promise<Pick<MeasuredLoop, "plan" | "packs">> {
  const where = job.where && toWhen(job.where);
  const when = target?.when;
  const takes: Parameters<typeof readJobPacks>[1]["takes"] = (request) =>
    (!where || matches(where, request)) && (!when || matches(when, request));
  let last = job.checkpoint;
  for await (const { after } of readJobPacks({ ...job, loops: 1 }, { archive, takes })) {
    signal?.throwIfAborted();
    last = after;
  }
  const { requests, packs, mark } = last;
  return { plan: { requests, loopMs: loopEndMs(job, mark), lastOffsetMs: mark.offsetMs, exact: true }, packs };
}
