import { z } from "zod";
import { bounds } from "../config/bounds.ts";
import { Pattern } from "../rules/pattern.ts";
import type { When } from "../rules/when.ts";
import { findRepairs, stored, storedCount } from "../state/repairs.ts";

/**
 * An object of a job's record that keeps the fields it does not know: a newer version of spoa-relay wrote them, and this one
 * may write the record again. A field that changes what is sent, or when, belongs into `pace` or `where`, which are strict.
 */
function record<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strip> {
  return z.looseObject(shape) as unknown as z.ZodObject<Shape, z.core.$strip>;
}

const time = stored(bounds.timeMs);
const count = storedCount({ least: 0, most: Number.MAX_SAFE_INTEGER });
const amount = stored({ least: 0, most: Number.MAX_SAFE_INTEGER });
// A million loops over a hundred years.
const longestOffsetMs = 1_000_000 * bounds.durationMs.most;
const offset = stored({ least: -longestOffsetMs, most: longestOffsetMs });
const span = stored({ least: 0, most: longestOffsetMs });

/** Pace of a job: `speed` times the captured speed, a constant rate, or as fast as the target accepts. */
const paceSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("speed"), factor: stored(bounds.speed) }),
  z.strictObject({ kind: z.literal("rate"), perSecond: stored(bounds.ratePerSecond) }),
  z.strictObject({ kind: z.literal("asap") }),
]);

/** A condition on requests, like `when` in the configuration. */
const whereSchema = z.strictObject({
  method: z.array(z.string()).min(1).exactOptional(),
  /** Matched against path and query. */
  path: z.string().exactOptional(),
  /** Regular expressions by lower-case name. */
  header: z.record(z.string(), z.string()).exactOptional(),
});

const statusSchema = z.enum(["scheduled", "running", "paused", "fed", "done", "cancelled", "failed"]);

const checkpointSchema = record({
  /** Number of finished loops. */
  loop: count,
  /** Position of the last request that was read in this loop. */
  position: z
    .strictObject({ capturedAtMs: z.number(), sequence: z.number(), packId: z.string(), index: z.number() })
    .exactOptional(),
  /**
   * Captured time of the last request that was put into a pack, and its offset in the time of the job. At the start of a
   * loop: the start of the range, and the offset at which the loop begins.
   */
  mark: record({ capturedAtMs: time, offsetMs: offset }),
  /** Requests and packs that were put into the target's queue. */
  requests: count,
  packs: count,
  /** Requests that `where` or the target's `when` left out. */
  filtered: count,
  /** Objects, or packs in them, that could not be read, and the number of requests in them. */
  skippedParts: count,
  skippedRequests: count,
  /** Whether everything has been fed. */
  complete: z.boolean(),
});

const planSchema = record({
  requests: count,
  /** Length of a loop, and the offset of its last request, both in the time of the job. */
  loopMs: span,
  lastOffsetMs: span,
  /** False if the numbers come from object names: then there may be fewer requests, and the times may be shorter. */
  exact: z.boolean(),
});

const jobSchema = record({
  id: z.string().regex(/^[\w-]{1,40}$/),
  capture: z.string(),
  target: z.string(),
  /** Range of the capture, `toMs` excluded. */
  fromMs: time,
  toMs: time,
  pace: paceSchema,
  loops: storedCount(bounds.loops),
  /** Longer silences of the capture are shortened to this. */
  maxGapMs: stored(bounds.gapMs).exactOptional(),
  where: whereSchema.exactOptional(),
  startAtMs: time.exactOptional(),
  createdAtMs: time,
  /** What one loop reads, estimated from object names at the start. Bytes are compressed. */
  total: record({ requests: amount, bytes: amount }),
  /** What one loop sends, as known at the start. Absent in jobs of older versions. */
  plan: planSchema.exactOptional(),
  /**
   * `scheduled`: waits for its start. `fed`: everything was put into the target's queue. `done`: every request has a
   * fate.
   */
  status: statusSchema,
  /** Why it has failed or cannot continue. */
  reason: z.string().exactOptional(),
  /** All due times are computed from this real time and job offset. A job that has not begun has no anchor. */
  anchor: record({ atMs: time, offsetMs: offset }).exactOptional(),
  pausedAtMs: time.exactOptional(),
  checkpoint: checkpointSchema,
  /** The process that feeds the job, and until when no other process may. */
  lease: record({ owner: z.string(), untilMs: time }).exactOptional(),
  endedAtMs: time.exactOptional(),
});

export type Pace = z.output<typeof paceSchema>;
export type Where = z.output<typeof whereSchema>;
export type JobStatus = z.output<typeof statusSchema>;
/** What one loop of a job sends. */
export type LoopPlan = Readonly<z.output<typeof planSchema>>;
export type Checkpoint = Readonly<z.output<typeof checkpointSchema>>;

/** A replay of a capture to a target: its settings and its progress. Times are in ms since 1970. */
export type Job = Readonly<z.output<typeof jobSchema>> & {
  /** By how much its times were moved since they were stored, because the wall clock was set, see `shiftJob`. Not stored. */
  readonly shiftMs?: number;
};

/**
 * What is known of a job whose record this version does not understand, because another version of spoa-relay wrote it. Only
 * that version can feed it, change it or send its requests.
 */
export interface ForeignJob {
  readonly id: string;
  readonly capture?: string;
  readonly target?: string;
  readonly status?: string;
}

/** A job as it is stored. The plan is apart: the first versions of spoa-relay refuse a job with a field that they do not know. */
export interface JobRecord {
  readonly job: string;
  readonly plan?: string;
}

export function toRecord({ plan, shiftMs: _, ...job }: Job): JobRecord {
  return { job: JSON.stringify(job), ...(plan && { plan: JSON.stringify(plan) }) };
}

/** Parses the record of a job, which is JSON. Reads a number out of bounds as the nearest one that is allowed; `repairs` names it. */
export function parseJob(
  id: string,
  { job: json, plan }: JobRecord,
): { readonly job: Job; readonly repairs?: readonly string[] } | { readonly foreign: ForeignJob } {
  const value: Readonly<Record<string, unknown>> = {
    ...toObject(json),
    ...(plan !== undefined && { plan: toObject(plan) }),
  };
  const parsed = jobSchema.safeParse(value);
  if (parsed.success) {
    const repairs = findRepairs(value, parsed.data);
    return { job: parsed.data, ...(repairs.length > 0 && { repairs }) };
  }
  const texts = (["capture", "target", "status"] as const).flatMap((name) =>
    typeof value[name] === "string" ? [[name, value[name]]] : [],
  );
  return { foreign: { id, ...Object.fromEntries(texts) } };
}

/** Says what to do with a foreign job. */
export function explainForeign({ id }: ForeignJob): string {
  return `job ${id} was written by another version of spoa-relay: use that version to show or change it`;
}

function toObject(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/**
 * Name of a job as the agent of its packs and among the targets of the ledger. Agent and target names have no slash.
 */
export function jobKey(id: string): string {
  return `${jobKeyPrefix}${id}`;
}

const jobKeyPrefix = "job/";

/** Ledger key for the sum of all deleted jobs: separate keys would grow without limit. */
export const forgottenJobsKey = `${jobKeyPrefix}forgotten`;

/** The job id in a name made by `jobKey`; undefined for any other name. */
export function jobIdOf(key: string): string | undefined {
  return key.startsWith(jobKeyPrefix) ? key.slice(jobKeyPrefix.length) : undefined;
}

/** How long jobs are kept after their end. */
export const endedKeptMs = 30 * 86_400_000;

export function hasEnded({ status }: Job): boolean {
  return status === "done" || status === "cancelled" || status === "failed";
}

/** The checkpoint of a job that has not begun. */
export function firstCheckpoint(fromMs: number): Checkpoint {
  return {
    loop: 0,
    mark: { capturedAtMs: fromMs, offsetMs: 0 },
    requests: 0,
    packs: 0,
    filtered: 0,
    skippedParts: 0,
    skippedRequests: 0,
    complete: false,
  };
}

/** Throws `PatternError` for a regular expression that cannot be used. */
export function toWhen({ method, path, header }: Where): When {
  return {
    ...(method && { methods: method }),
    ...(path !== undefined && { path: new Pattern(path) }),
    ...(header && {
      headers: Object.fromEntries(
        Object.entries(header).map(([name, text]) => [name.toLowerCase(), new Pattern(text)]),
      ),
    }),
  };
}
