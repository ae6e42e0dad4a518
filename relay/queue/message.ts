import { DecodeError } from "../pack/decode-error.ts";
import { openPack, sealPack } from "../pack/envelope.ts";
import { decodePack, encodeShare, type Pack, type PackedRequest } from "../pack/pack.ts";
import { type PackSummary, parseSummary } from "../pack/summary.ts";
import type { JobMark } from "./job-mark.ts";
import { shorten, toMessageText } from "./message-text.ts";
import type { Delivery, OutgoingMessage } from "./port.ts";

/** Most bytes of a reason in the body of a dead letter. */
export const maxReasonBytes = 1_000;

/** A pack as read from a message. */
export interface MessagePack extends Pack {
  /** The mark of its replay job; undefined for a pack of an agent. */
  readonly job?: JobMark;
  /** Undefined if its requests were never redriven. */
  readonly redrive?: RedriveMark;
}

/** Marks requests that were dead letters and were sent again. The copies of a request differ in it, and the newest counts. */
interface RedriveMark {
  /** How often the requests were redriven. */
  readonly count: number;
  /** Start of the last redrive, in milliseconds since 1970. */
  readonly atMs: number;
}

/** Opens and decodes the pack of a delivery. */
export function readMessage({
  body = "",
  pack: sealed,
}: Pick<Delivery, "pack"> & Partial<Pick<Delivery, "body">>): MessagePack | DecodeError {
  if (sealed.length === 0) {
    const reason = "the message has no Binary attribute named pack: it is probably from another program";
    return new DecodeError("NO_PACK", undefined, reason);
  }
  const content = openPack(sealed);
  const pack = content instanceof DecodeError ? content : decodePack(content);
  if (pack instanceof DecodeError || !(hasJobMark(body) || body.includes('"redrive":'))) return pack;
  const { job, redrive } = parseSummary(body) ?? {};
  return {
    ...pack,
    ...(job && { job: { id: job.id, ...(job.base !== undefined && { baseMs: job.base }) } }),
    ...(redrive && { redrive: { count: redrive.count, atMs: Date.parse(redrive.at) } }),
  };
}

/** Whether the body looks like that of a replay job. Fast but not exact: other bodies may contain the same text. */
export function hasJobMark(body: string): boolean {
  return body.includes('"job":');
}

/** The unchanged message, for a queue that receives the whole pack. */
export function forwardMessage(delivery: Pick<Delivery, "body" | "pack">, pack: Pack): OutgoingMessage {
  return { body: delivery.body, pack: delivery.pack, requests: pack.requests.length };
}

/** A message with some requests of a pack, at least one. They keep the pack's id and their indexes. */
export function shareMessage(
  pack: MessagePack,
  requests: readonly PackedRequest[],
  options: { readonly attempt: number; readonly delayMs?: number; readonly reason?: string },
): OutgoingMessage {
  const { attempt, delayMs, reason } = options;
  const content = encodeShare(pack, requests, attempt);
  const summary: PackSummary = {
    v: 1,
    pack: pack.id,
    agent: pack.agent,
    seq: pack.sequence,
    count: requests.length,
    bytes: content.length,
    first: new Date(requests[0].capturedAtMs).toISOString(),
    last: new Date((requests.at(-1) as PackedRequest).capturedAtMs).toISOString(),
    ...(attempt > 0 && { attempt }),
    ...(reason !== undefined && { reason: shorten(reason, maxReasonBytes) }),
    ...(pack.redrive && { redrive: { count: pack.redrive.count, at: new Date(pack.redrive.atMs).toISOString() } }),
    ...(pack.job && { job: toSummary(pack.job) }),
  };
  return {
    body: toMessageText(summary),
    pack: sealPack(content),
    requests: requests.length,
    ...(delayMs !== undefined && { delayMs }),
  };
}

function toSummary({ id, baseMs }: JobMark): NonNullable<PackSummary["job"]> {
  return { id, ...(baseMs !== undefined && { base: baseMs }) };
}
