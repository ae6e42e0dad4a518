import { type PackSummary, parseMarks, parseSummary } from "../pack/summary.ts";
import { maxReasonBytes } from "./message.ts";
import { cutText, shorten, toMessageText } from "./message-text.ts";
import type { Delivery, OutgoingMessage, QueueSender } from "./port.ts";

// With less room for the reason than this, bytes of a pack are given up for it.
const leastReasonBytes = 40;

/**
 * A message that cannot be decoded, for the dead letters. Its bytes are unchanged, and the reason is added to its body: to the
 * summary if it has one, else beside the body itself, as far as that fits. A message that leaves no room for a reason loses its
 * summary, or if it has none the end of its bytes.
 */
export function poisonMessage(
  { body, pack }: Pick<Delivery, "body" | "pack">,
  reason: string,
  { maxMessageBytes }: Pick<QueueSender, "maxMessageBytes">,
): OutgoingMessage {
  const summary = parseSummary(body);
  const requests = summary?.count ?? 0;
  const shown = shorten(reason, maxReasonBytes);
  const room = maxMessageBytes - pack.length;
  const described = summary && describedBody(summary, body, shown, room);
  if (described !== undefined) return { body: described, pack, requests };
  const beside = besideBody(body, shown, room);
  if (beside !== undefined) return { body: beside, pack, requests };
  const shownBody = cutText(body, maxReasonBytes);
  const text = (bytes: number) =>
    toMessageText({ reason: `only the first ${bytes} of ${pack.length} bytes are kept; ${shown}`, body: shownBody });
  const kept = maxMessageBytes - Buffer.byteLength(text(pack.length));
  return { body: text(kept), pack: pack.subarray(0, kept), requests };
}

function describedBody(summary: PackSummary, body: string, reason: string, room: number): string | undefined {
  const full = toMessageText({ ...summary, reason });
  if (Buffer.byteLength(full) <= room) return full;
  const { reason: _, ...marks } = parseMarks(body);
  const left = room - Buffer.byteLength(toMessageText({ v: 1, ...marks, reason: "" }));
  return left < leastReasonBytes ? undefined : toMessageText({ v: 1, ...marks, reason: shorten(reason, left) });
}

/** Undefined if there is no room even for the reason. */
function besideBody(body: string, reason: string, room: number): string | undefined {
  const whole = { reason, body };
  if (Buffer.byteLength(toMessageText(whole)) <= room) return toMessageText(whole);
  const cut = { reason, bodyBytes: Buffer.byteLength(body), body: "" };
  const left = room - Buffer.byteLength(toMessageText(cut));
  if (left >= 0) return toMessageText({ ...cut, body: cutText(body, left) });
  const leftForReason = room - Buffer.byteLength(toMessageText({ reason: "" }));
  return leftForReason < leastReasonBytes ? undefined : toMessageText({ reason: shorten(reason, leftForReason) });
}
