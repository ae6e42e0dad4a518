import { z } from "zod";

/**
 * Summary of a pack in the body of its queue message. People in the SQS console, event filters and the ledger can read
 * it without decompressing the pack.
 */
export interface PackSummary extends PackMarks {
  readonly v: 1;
  readonly pack: string;
  readonly agent: string;
  readonly seq: number;
  /** Requests in this message. */
  readonly count: number;
  /** Bytes before compression. */
  readonly bytes: number;
  /** Capture time of the first and the last request, ISO 8601. */
  readonly first: string;
  readonly last: string;
}

/** What is noted about a pack outside it. Each part is optional. */
export interface PackMarks {
  /** How often these requests were tried before. It counts, if it differs from the number in the pack. */
  readonly attempt?: number;
  /** When the requests first entered this queue, in milliseconds since 1970, if the message was put back into it since. */
  readonly since?: number;
  /**
   * For how long the first and the last request of the pack had been held before they entered this queue, in milliseconds by
   * clocks that nobody sets. Agents of older versions do not tell it.
   */
  readonly held?: readonly [number, number];
  /** Why they are dead letters. */
  readonly reason?: string;
  /** The last redrive of these requests, see `RedriveMark`. */
  readonly redrive?: { readonly count: number; readonly at: string };
  /** The replay job that put them into the queue, see `JobMark`. */
  readonly job?: { readonly id: string; readonly base?: number };
}

/** The longest time that a mark can say. */
export const maxHeldMs = 8.64e15;
const heldMs = z.number().int().nonnegative().max(maxHeldMs);
const marks = {
  attempt: z.number().int().nonnegative().max(0xffff_ffff).exactOptional(),
  since: z.number().int().positive().max(8.64e15).exactOptional(),
  held: z.tuple([heldMs, heldMs]).exactOptional(),
  reason: z.string().exactOptional(),
  redrive: z.object({ count: z.number().int().positive().max(0xffff_ffff), at: z.iso.datetime() }).exactOptional(),
  job: z.object({ id: z.string(), base: z.number().exactOptional() }).exactOptional(),
};
const marksSchema: z.ZodType<PackMarks> = z.object(marks);
const schema: z.ZodType<PackSummary> = z.object({
  v: z.literal(1),
  pack: z.string(),
  agent: z.string(),
  seq: z.number(),
  count: z.number().int().nonnegative(),
  bytes: z.number(),
  first: z.string(),
  last: z.string(),
  ...marks,
});

/** Parses a message body; undefined if it is not a summary. */
export function parseSummary(body: string): PackSummary | undefined {
  return parse(schema, body);
}

/** The marks in a message body, which may have no summary; none if it is not ours. */
export function parseMarks(body: string): PackMarks {
  return parse(marksSchema, body) ?? {};
}

function parse<T>(shape: z.ZodType<T>, body: string): T | undefined {
  try {
    return shape.parse(JSON.parse(body));
  } catch {
    return undefined;
  }
}
