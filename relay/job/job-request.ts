import { randomInt } from "node:crypto";
import type { Archive } from "../archive/port.ts";
import {
  type CaptureRange,
  type CaptureTotals,
  listCapture,
  shareWithin,
  sumCapture,
} from "../capture/capture-index.ts";
import { bounds, isWithinBounds } from "../config/bounds.ts";
import type { TargetConfig } from "../config/config.ts";
import type { Jobs } from "../state/port.ts";
import { firstCheckpoint, type Job, type Pace, toWhen, type Where } from "./job.ts";
import { JobError } from "./job-error.ts";
import { measureLoop, quickReadBytes } from "./loop-plan.ts";

/** A request for a job. Times are in ms since 1970. */
export interface JobRequest {
  readonly capture: string;
  readonly target: string;
  /** First ms to replay; the start of the capture if left out. */
  readonly fromMs?: number;
  /** First ms not to replay; the end of the capture if left out. */
  readonly toMs?: number;
  readonly pace: Pace;
  /** How often to replay the range; 1 if left out. */
  readonly loops?: number;
  readonly maxGapMs?: number;
  readonly where?: Where;
  /** Start time; now if left out. */
  readonly startAtMs?: number;
}

/** The captures and targets that jobs can use. */
export interface JobPlace {
  readonly targets: readonly Pick<TargetConfig, "name" | "ratePerSecond" | "when">[];
  /** Archives by the name of the capture. */
  readonly captures: ReadonlyMap<string, Archive>;
}

// Ids created in the same second differ only in three random letters, so they can collide.
const idAttempts = 5;

/**
 * Creates and writes a job. It starts at its start time, or within seconds. Reads a small capture if its names do not say how
 * many requests it sends, and until when. Throws `JobError`, `ArchiveError` if the capture cannot be listed, and `StateError`.
 */
export async function startJob(
  place: JobPlace & { readonly jobs: Jobs },
  request: JobRequest,
  nowMs: number,
): Promise<Job> {
  const planned = await planJob(place, request, nowMs);
  const archive = place.captures.get(planned.capture) as Archive;
  const target = place.targets.find(({ name }) => name === planned.target);
  const { plan } = await measureLoop(archive, planned, target, quickReadBytes);
  // A range that is still open will have more requests than now.
  const exact = plan.exact && (planned.startAtMs === undefined || planned.toMs <= nowMs);
  for (let attempt = 0; attempt < idAttempts; attempt++) {
    const job = { ...planned, id: createJobId(nowMs), plan: { ...plan, exact } };
    if (await place.jobs.write(job, 0)) return job;
  }
  throw new JobError("WRONG_STATUS", "too many jobs were created in this second: try again");
}

/** Creates the job that `startJob` would write, without its `plan`. Reads only object names. Throws `JobError` and `ArchiveError`. */
export async function planJob({ targets, captures }: JobPlace, request: JobRequest, nowMs: number): Promise<Job> {
  const { capture, target, pace, loops = 1, maxGapMs, where, startAtMs } = request;
  const archive = captures.get(capture);
  if (!archive) throw new JobError("UNKNOWN_CAPTURE", explainUnknown("capture", capture, [...captures.keys()]));
  const names = targets.map(({ name }) => name);
  if (!names.includes(target)) throw new JobError("UNKNOWN_TARGET", explainUnknown("target", target, names));
  assertPace(pace);
  assertLoops(loops);
  assertMaxGap(maxGapMs, pace);
  assertWhere(where);
  if (startAtMs !== undefined && startAtMs < nowMs) {
    const late = `the start time ${toText(startAtMs)} is in the past: it is ${toText(nowMs)} now`;
    throw new JobError("BAD_TIME", `${late}; leave out --at to start at once`);
  }
  const { range, totals } = await findRange(archive, request, nowMs);
  return {
    id: createJobId(nowMs),
    capture,
    target,
    ...range,
    pace,
    loops,
    ...(maxGapMs !== undefined && { maxGapMs }),
    ...(where && { where }),
    ...(startAtMs !== undefined && { startAtMs }),
    createdAtMs: nowMs,
    total: { requests: totals.requests, bytes: totals.bytes },
    status: "scheduled",
    checkpoint: firstCheckpoint(range.fromMs),
  };
}

// The characters that are easily mistaken for others are left out: i, l, o, 0, 1.
const idLetters = "abcdefghjkmnpqrstuvwxyz23456789";
const randomIdLetters = 3;

/**
 * An id such as `20261122-175341-k3f`: the moment (UTC), so that ids sort in the order of their creation, and three random
 * letters.
 */
function createJobId(nowMs: number): string {
  const [, date, time] = /^(\d{8})T(\d{6})/.exec(new Date(nowMs).toISOString().replaceAll(/[:-]/g, "")) ?? [];
  const random = Array.from({ length: randomIdLetters }, () => idLetters[randomInt(idLetters.length)]).join("");
  return `${date}-${time}-${random}`;
}

/**
 * Shortens the requested range to the objects in it, so that a replay does not wait before its first and after its last
 * object. The result may be up to a minute too long.
 */
async function findRange(
  archive: Archive,
  { capture, fromMs = 0, toMs = Number.POSITIVE_INFINITY, startAtMs }: JobRequest,
  nowMs: number,
): Promise<{ readonly range: CaptureRange; readonly totals: CaptureTotals }> {
  if (!(fromMs < toMs)) {
    throw new JobError(
      "BAD_RANGE",
      `the range ends at ${toText(toMs)}, which is not after its start at ${toText(fromMs)}`,
    );
  }
  const totals = await sumRange(archive, capture, { fromMs, toMs });
  // A job with a later start also replays requests that are captured until then.
  const open = startAtMs !== undefined && toMs > nowMs && toMs !== Number.POSITIVE_INFINITY;
  if (totals.objects === 0 && !open) throw new JobError("NOTHING_THERE", await explainNothing(archive, capture));
  const { firstMs = Math.max(fromMs, nowMs), lastMs = toMs } = totals;
  return {
    range: { fromMs: Math.max(fromMs, firstMs), toMs: open ? toMs : Math.min(toMs, lastMs + 1) },
    totals,
  };
}

/** Like `sumCapture`, but an object that reaches beyond the range counts in proportion to its time within the range. */
async function sumRange(archive: Archive, capture: string, range: CaptureRange): Promise<CaptureTotals> {
  const times = { firstMs: Number.POSITIVE_INFINITY, lastMs: 0 };
  let [objects, requests, bytes] = [0, 0, 0];
  for await (const object of listCapture(archive, capture, range)) {
    const share = shareWithin(object, range);
    objects++;
    requests += object.requests * share;
    bytes += object.bytes * share;
    times.firstMs = Math.min(times.firstMs, object.firstMs);
    times.lastMs = Math.max(times.lastMs, object.lastMs);
  }
  return { objects, requests: Math.round(requests), bytes: Math.round(bytes), ...(objects > 0 && times) };
}

async function explainNothing(archive: Archive, capture: string): Promise<string> {
  const { firstMs, lastMs } = await sumCapture(archive, capture, { fromMs: 0, toMs: Number.POSITIVE_INFINITY });
  if (firstMs === undefined || lastMs === undefined) return `capture ${capture} has no requests yet`;
  return `capture ${capture} has no requests in this range: it has requests from ${toText(firstMs)} to ${toText(lastMs)}`;
}

/** Says that the configuration has no such capture or target, and which it has. */
export function explainUnknown(kind: "capture" | "target", name: string, names: readonly string[]): string {
  if (names.length === 0) return `there is no ${kind} ${name}: the configuration has no ${kind}s`;
  return `there is no ${kind} ${name}; the configuration has: ${names.join(", ")}`;
}

function assertPace(pace: Pace): void {
  const value = pace.kind === "speed" ? pace.factor : pace.kind === "rate" ? pace.perSecond : 1;
  if (!(value > 0 && Number.isFinite(value)))
    throw new JobError("BAD_ARGUMENT", `the ${pace.kind} must be a finite number above 0, not ${value}`);
  if (pace.kind === "rate") {
    const { least, most } = bounds.ratePerSecond;
    if (pace.perSecond < least)
      throw new JobError("BAD_ARGUMENT", `the lowest rate is ${least * 3_600}/h, not ${pace.perSecond * 3_600}/h`);
    if (pace.perSecond > most)
      throw new JobError("BAD_ARGUMENT", `the highest rate is ${most}/s, not ${pace.perSecond}/s`);
  } else if (pace.kind === "speed") {
    const { least, most } = bounds.speed;
    if (pace.factor < least) throw new JobError("BAD_ARGUMENT", `the lowest speed is ${least}x, not ${pace.factor}x`);
    if (pace.factor > most) throw new JobError("BAD_ARGUMENT", `the highest speed is ${most}x, not ${pace.factor}x`);
  }
}

function assertLoops(loops: number): void {
  if (Number.isInteger(loops) && isWithinBounds(loops, bounds.loops)) return;
  const { least, most } = bounds.loops;
  throw new JobError(
    "BAD_ARGUMENT",
    `the number of loops must be a whole number from ${least} to ${most}, not ${loops}`,
  );
}

function assertMaxGap(maxGapMs: number | undefined, { kind }: Pace): void {
  if (maxGapMs === undefined) return;
  if (kind !== "speed") {
    throw new JobError(
      "BAD_ARGUMENT",
      "the longest gap works only with a speed, not with a rate or as fast as possible",
    );
  }
  if (isWithinBounds(maxGapMs, bounds.gapMs)) return;
  const { least, most } = bounds.gapMs;
  const bound = maxGapMs > most ? `at most ${most}` : `at least ${least}`;
  throw new JobError("BAD_ARGUMENT", `the longest gap must be ${bound} ms, not ${maxGapMs} ms`);
}

function assertWhere(where: Where | undefined): void {
  if (!where) return;
  try {
    toWhen(where);
  } catch (error) {
    throw new JobError("BAD_ARGUMENT", `where: ${(error as Error).message}`, { cause: error });
  }
}

function toText(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : "the end";
}
