import { DecodeError } from "../pack/decode-error.ts";
import { openPack, sealPack } from "../pack/envelope.ts";
import { decodePack, encodeShare, type Pack, type PackedRequest } from "../pack/pack.ts";
import { maxHeldMs, type PackMarks, type PackSummary, parseMarks, parseSummary } from "../pack/summary.ts";
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
  /**
   * When its requests first entered the queue that it was received from, by the clock of the queue. Undefined if the pack is
   * not from a queue, or if the queue does not say when it was sent.
   */
  readonly queuedAtMs?: number;
  /**
   * For how long its first and its last request had been held before that, in milliseconds. Undefined if its agent did not tell.
   */
  readonly held?: readonly [number, number];
  /** Its bytes as received. */
  readonly sealed?: Uint8Array;
}

/** Marks requests that were dead letters and were sent again. The copies of a request differ in it, and the newest counts. */
interface RedriveMark {
  /** How often the requests were redriven. */
  readonly count: number;
  /** Start of the last redrive, in milliseconds since 1970. */
  readonly atMs: number;
}

export interface ShareOptions {
  readonly attempt: number;
  readonly delayMs?: number;
  /** Why the requests are dead letters. */
  readonly reason?: string;
}

/** Opens and decodes the pack of a delivery. */
export function readMessage({
  body = "",
  pack: sealed,
  sentAtMs = 0,
}: Pick<Delivery, "pack"> & Partial<Pick<Delivery, "body" | "sentAtMs">>): MessagePack | DecodeError {
  if (sealed.length === 0) {
    const reason = "the message has no Binary attribute named pack: it is probably from another program";
    return new DecodeError("NO_PACK", undefined, reason);
  }
  const content = openPack(sealed);
  const pack = content instanceof DecodeError ? content : decodePack(content);
  if (pack instanceof DecodeError) return pack;
  const { attempt = pack.attempt, since, held, job, redrive } = marksIn.test(body) ? parseMarks(body) : {};
  // A message cannot have entered its queue for the first time after it was sent: somebody has forged that.
  const queuedAtMs = sentAtMs > 0 ? Math.min(sentAtMs, since ?? sentAtMs) : since;
  return {
    ...pack,
    attempt,
    sealed,
    ...(queuedAtMs !== undefined && { queuedAtMs }),
    ...(held && { held }),
    ...(job && { job: { id: job.id, ...(job.base !== undefined && { baseMs: job.base }) } }),
    ...(redrive && { redrive: { count: redrive.count, atMs: Date.parse(redrive.at) } }),
  };
}

/** Whether the body looks like that of a replay job. Fast but not exact: other bodies may contain the same text. */
export function hasJobMark(body: string): boolean {
  return body.includes('"job":');
}

/** The delivery without some of the marks that `readMessage` would find; the delivery itself if it has none of them. */
export function withoutMarks(delivery: Delivery, names: readonly ("job" | "redrive")[]): Delivery {
  if (!marksIn.test(delivery.body)) return delivery;
  let marked = false;
  const body = changeBody(delivery.body, (summary) => {
    const kept = Object.entries(summary).filter(([name]) => !(names as readonly string[]).includes(name));
    marked = kept.length < Object.keys(summary).length;
    return Object.fromEntries(kept);
  });
  return marked ? { ...delivery, body } : delivery;
}

/** The whole pack, for another queue: the message is unchanged, but its time in that queue begins anew, see `anew`. */
export function forwardMessage(
  { body: received, pack: sealed }: Pick<Delivery, "body" | "pack">,
  pack: MessagePack,
  nowMs: number,
): OutgoingMessage {
  const { held } = anew(pack, nowMs);
  const body = withoutSince(received);
  return {
    body: held ? changeBody(body, (summary) => ({ ...summary, held })) : body,
    pack: sealed,
    requests: pack.requests.length,
  };
}

/** The whole pack, for the queue that it was received from: the message is unchanged but for the time when it entered the queue. */
export function returnMessage(
  { body, pack: sealed }: Pick<Delivery, "body" | "pack">,
  pack: MessagePack,
): OutgoingMessage {
  const { queuedAtMs: since } = pack;
  return {
    body: since === undefined ? body : changeBody(body, (summary) => ({ ...summary, since })),
    pack: sealed,
    requests: pack.requests.length,
  };
}

/** The same for a message that was not opened. */
export function returnUnread({
  body,
  pack: sealed,
  sentAtMs,
}: Pick<Delivery, "body" | "pack" | "sentAtMs">): OutgoingMessage {
  const { since = sentAtMs } = parseMarks(body);
  return {
    body: since > 0 ? changeBody(body, (summary) => ({ ...summary, since })) : body,
    pack: sealed,
    requests: parseSummary(body)?.count ?? 0,
  };
}

/** A message with some requests of a pack, at least one. They keep the pack's id and their indexes. */
export function shareMessage(
  pack: MessagePack,
  requests: readonly PackedRequest[],
  { attempt, delayMs, reason }: ShareOptions,
): OutgoingMessage {
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
    ...toMarks(pack),
  };
  return {
    body: toMessageText(summary),
    pack: sealPack(content),
    requests: requests.length,
    ...(delayMs !== undefined && { delayMs }),
  };
}

/**
 * The pack for another queue, or for the same after a person has put it back: its time in the queue begins anew, and the time in
 * the queue that it was received from is added to that for which its requests have been held.
 *
 * @param nowMs by the clock of that queue
 */
export function anew({ queuedAtMs, held, ...pack }: MessagePack, nowMs: number): MessagePack {
  if (!held) return pack;
  const waitedMs = queuedAtMs === undefined ? 0 : Math.max(0, Math.floor(nowMs - queuedAtMs));
  // Not more than the longest: with a mark that cannot be read, a message has none at all.
  const longer = (ms: number) => Math.min(ms + waitedMs, maxHeldMs);
  return { ...pack, held: [longer(held[0]), longer(held[1])] };
}

/** The marks that all messages with requests of this pack have. */
export function toMarks({ queuedAtMs, held, redrive, job }: MessagePack): PackMarks {
  return {
    ...(queuedAtMs !== undefined && { since: queuedAtMs }),
    ...(held && { held }),
    ...(redrive && { redrive: { count: redrive.count, at: new Date(redrive.atMs).toISOString() } }),
    ...(job && { job: { id: job.id, ...(job.baseMs !== undefined && { base: job.baseMs }) } }),
  };
}

/** The body of a message with changes to its summary; unchanged if it is not a JSON object. */
export function changeBody(body: string, change: (summary: object) => object): string {
  try {
    const summary: unknown = JSON.parse(body);
    return typeof summary === "object" && summary !== null && !Array.isArray(summary)
      ? toMessageText(change(summary))
      : body;
  } catch {
    return body;
  }
}

/** The body of a message whose time in its queue begins anew. */
export function withoutSince(body: string): string {
  if (!body.includes('"since":')) return body;
  return changeBody(body, (summary) => {
    const { since: _, ...rest } = summary as { readonly since?: unknown };
    return rest;
  });
}

// A summary with none of them, as agents of older versions write it, need not be parsed.
const marksIn = /"(?:attempt|since|held|job|redrive)":/;
