import { z } from "zod";
import type { When } from "../rules/when.ts";

/** Pace of a job: `speed` times the captured speed, a constant rate, or as fast as the target accepts. */
const paceSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("speed"), factor: z.number().positive() }),
  z.strictObject({ kind: z.literal("rate"), perSecond: z.number().positive() }),
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

const checkpointSchema = z.strictObject({
  /** Number of finished loops. */
  loop: z.int().nonnegative(),
  /** Position of the last request that was read in this loop. */
  position: z
    .strictObject({ capturedAtMs: z.number(), sequence: z.number(), packId: z.string(), index: z.number() })
    .exactOptional(),
  /** Captured time of the last request that was put into a pack, and its offset in the time of the job. */
  mark: z.strictObject({ capturedAtMs: z.number(), offsetMs: z.number() }),
  /** Requests and packs that were put into the target's queue. */
  requests: z.int().nonnegative(),
  packs: z.int().nonnegative(),
  /** Requests that `where` or the target's `when` left out. */
  filtered: z.int().nonnegative(),
  /** Objects, or packs in them, that could not be read, and the number of requests in them. */
  skippedParts: z.int().nonnegative(),
  skippedRequests: z.int().nonnegative(),
  /** Whether everything has been fed. */
  complete: z.boolean(),
});

const jobSchema = z.strictObject({
  id: z.string().regex(/^[\w-]{1,40}$/),
  capture: z.string(),
  target: z.string(),
  /** Range of the capture, `toMs` excluded. */
  fromMs: z.number(),
  toMs: z.number(),
  pace: paceSchema,
  loops: z.int().min(1),
  /** Longer silences of the capture are shortened to this. */
  maxGapMs: z.number().positive().exactOptional(),
  where: whereSchema.exactOptional(),
  startAtMs: z.number().exactOptional(),
  createdAtMs: z.number(),
  /** Estimate for one loop, from object names at the start. Bytes are compressed. */
  total: z.strictObject({ requests: z.number(), bytes: z.number() }),
  /**
   * `scheduled`: waits for its start. `fed`: everything was put into the target's queue. `done`: every request has a
   * fate.
   */
  status: statusSchema,
  /** Why it has failed or cannot continue. */
  reason: z.string().exactOptional(),
  /** All due times are computed from this real time and job offset. A job that has not begun has no anchor. */
  anchor: z.strictObject({ atMs: z.number(), offsetMs: z.number() }).exactOptional(),
  pausedAtMs: z.number().exactOptional(),
  checkpoint: checkpointSchema,
  /** The process that feeds the job, and until when no other process may. */
  lease: z.strictObject({ owner: z.string(), untilMs: z.number() }).exactOptional(),
  endedAtMs: z.number().exactOptional(),
});

export type Pace = z.output<typeof paceSchema>;
export type Where = z.output<typeof whereSchema>;
export type JobStatus = z.output<typeof statusSchema>;
export type Checkpoint = Readonly<z.output<typeof checkpointSchema>>;

/** A replay of a capture to a target: its settings and its progress. Times are in ms since 1970. */
export type Job = Readonly<z.output<typeof jobSchema>>;

/** Parses a job in JSON. Throws if the text is not a job. */
export function parseJob(json: string): Job {
  return jobSchema.parse(JSON.parse(json));
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

/** Throws `SyntaxError` if a regular expression is invalid. */
export function toWhen({ method, path, header }: Where): When {
  return {
    ...(method && { methods: method }),
    ...(path !== undefined && { path: new RegExp(path) }),
    ...(header && {
      headers: Object.fromEntries(Object.entries(header).map(([name, text]) => [name.toLowerCase(), new RegExp(text)])),
    }),
  };
}
