import { z } from "zod";
import type { When } from "../rules/when.ts";

/** How fast a job's requests follow each other: as they were captured, times a factor; at a rate; or as they can be sent. */
const paceSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("speed"), factor: z.number().positive() }),
  z.strictObject({ kind: z.literal("rate"), perSecond: z.number().positive() }),
  z.strictObject({ kind: z.literal("asap") }),
]);

/** A condition on requests, as `when` has it in the configuration. */
const whereSchema = z.strictObject({
  method: z.array(z.string()).min(1).exactOptional(),
  /** Matched against path and query. */
  path: z.string().exactOptional(),
  /** Regular expressions by lower-case name. */
  header: z.record(z.string(), z.string()).exactOptional(),
});

const statusSchema = z.enum(["scheduled", "running", "paused", "fed", "done", "cancelled", "failed"]);

const checkpointSchema = z.strictObject({
  /** Loops that are over. */
  loop: z.int().nonnegative(),
  /** Of the last request of this loop that was read. */
  position: z
    .strictObject({ capturedAtMs: z.number(), sequence: z.number(), packId: z.string(), index: z.number() })
    .exactOptional(),
  /** Where the captured time of this loop stands in the time of the job, at the last request that was taken. */
  mark: z.strictObject({ capturedAtMs: z.number(), offsetMs: z.number() }),
  /** Requests and packs that were put into the target's queue. */
  requests: z.int().nonnegative(),
  packs: z.int().nonnegative(),
  /** Requests that `where`, or the target's `when`, has left out. */
  filtered: z.int().nonnegative(),
  /** Objects, or packs in them, that cannot be read, and the requests in them. */
  skippedParts: z.int().nonnegative(),
  skippedRequests: z.int().nonnegative(),
  /** Nothing is left to be fed. */
  complete: z.boolean(),
});

const jobSchema = z.strictObject({
  id: z.string().regex(/^[\w-]{1,40}$/),
  capture: z.string(),
  target: z.string(),
  /** Of the capture: from the first millisecond to before the last. */
  fromMs: z.number(),
  toMs: z.number(),
  pace: paceSchema,
  loops: z.int().min(1),
  /** Silences of the capture are cut to it. */
  maxGapMs: z.number().positive().exactOptional(),
  where: whereSchema.exactOptional(),
  startAtMs: z.number().exactOptional(),
  createdAtMs: z.number(),
  /** Of one loop, by the names of objects when it was started: an estimate. Bytes are those that are stored. */
  total: z.strictObject({ requests: z.number(), bytes: z.number() }),
  /**
   * `scheduled` waits for its start; of one that is `fed` everything is in the target's queue; of one that is `done` every
   * request has a fate.
   */
  status: statusSchema,
  /** Why it has failed, or what keeps it from going on. */
  reason: z.string().exactOptional(),
  /** The one moment that all due times are counted from; a job that has not begun has none. */
  anchor: z.strictObject({ atMs: z.number(), offsetMs: z.number() }).exactOptional(),
  pausedAtMs: z.number().exactOptional(),
  checkpoint: checkpointSchema,
  /** Who feeds it, and until when nobody else does. */
  lease: z.strictObject({ owner: z.string(), untilMs: z.number() }).exactOptional(),
  endedAtMs: z.number().exactOptional(),
});

export type Pace = z.output<typeof paceSchema>;
export type Where = z.output<typeof whereSchema>;
export type JobStatus = z.output<typeof statusSchema>;
export type Checkpoint = Readonly<z.output<typeof checkpointSchema>>;

/** A replay of a capture at a target: what is to be done, and how far it is. Times are milliseconds since 1970. */
export type Job = Readonly<z.output<typeof jobSchema>>;

/** Reads what `JSON.stringify` made of a job. Throws where it is something else. */
export function parseJob(json: string): Job {
  return jobSchema.parse(JSON.parse(json));
}

/** How a job is called in packs, as their agent, and in the ledger, beside the targets. No name of these has a slash. */
export function jobKey(id: string): string {
  return `${jobKeyPrefix}${id}`;
}

const jobKeyPrefix = "job/";

/** Under which the ledger has all jobs that are kept no more: their names would be more and more for ever. */
export const forgottenJobsKey = `${jobKeyPrefix}forgotten`;

/** The id in a name of `jobKey`; undefined for any other name. */
export function jobIdOf(key: string): string | undefined {
  return key.startsWith(jobKeyPrefix) ? key.slice(jobKeyPrefix.length) : undefined;
}

/** Jobs that have ended are kept for so long. */
export const endedKeptMs = 30 * 86_400_000;

export function hasEnded({ status }: Job): boolean {
  return status === "done" || status === "cancelled" || status === "failed";
}

/** Where a job begins. */
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

/** Throws `SyntaxError` where an expression is none. */
export function toWhen({ method, path, header }: Where): When {
  return {
    ...(method && { methods: method }),
    ...(path !== undefined && { path: new RegExp(path) }),
    ...(header && {
      headers: Object.fromEntries(Object.entries(header).map(([name, text]) => [name.toLowerCase(), new RegExp(text)])),
    }),
  };
}
