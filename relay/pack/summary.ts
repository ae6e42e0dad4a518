import { z } from "zod";

/**
 * Summary of a pack in the body of its queue message. People in the SQS console, event filters and the ledger can read
 * it without decompressing the pack.
 */
export interface PackSummary {
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
  /** How often these requests were tried before. */
  readonly attempt?: number;
  /** Why they are dead letters. */
  readonly reason?: string;
  /** The last redrive of these requests, see `RedriveMark`. */
  readonly redrive?: { readonly count: number; readonly at: string };
  /** The replay job that put them into the queue, see `JobMark`. */
  readonly job?: { readonly id: string; readonly base?: number };
}

const schema: z.ZodType<PackSummary> = z.object({
  v: z.literal(1),
  pack: z.string(),
  agent: z.string(),
  seq: z.number(),
  count: z.number().int().nonnegative(),
  bytes: z.number(),
  first: z.string(),
  last: z.string(),
  attempt: z.number().exactOptional(),
  reason: z.string().exactOptional(),
  redrive: z.object({ count: z.number().int().positive().max(0xffff_ffff), at: z.iso.datetime() }).exactOptional(),
  job: z.object({ id: z.string(), base: z.number().exactOptional() }).exactOptional(),
});

/** Parses a message body; undefined if it is not a summary. */
export function parseSummary(body: string): PackSummary | undefined {
  try {
    return schema.parse(JSON.parse(body));
  } catch {
    return undefined;
  }
}
