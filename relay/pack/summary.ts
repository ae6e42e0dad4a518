import { z } from "zod";

/**
 * What a queue message's body says of the pack beside it: enough for a person in the SQS console, for an event filter and
 * for the ledger, without decompressing anything.
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
  /** How often these requests have been tried before. */
  readonly attempt?: number;
  /** Why they are dead letters. */
  readonly reason?: string;
  /** The replay job that has put them into the queue, see `JobMark`. */
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
  job: z.object({ id: z.string(), base: z.number().exactOptional() }).exactOptional(),
});

/** The summary in a message body, or undefined where the body is something else. */
export function parseSummary(body: string): PackSummary | undefined {
  try {
    return schema.parse(JSON.parse(body));
  } catch {
    return undefined;
  }
}
