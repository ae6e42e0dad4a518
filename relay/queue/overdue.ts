import type { MessagePack } from "./message.ts";
import type { Delivery, Retention } from "./port.ts";

/** That of a queue which keeps requests for ever. */
export const forever: Retention = { ms: Number.POSITIVE_INFINITY, counted: false, nowMs: () => Date.now() };

/**
 * When the requests of a pack have waited for as long as its queue keeps them, by the clock of the queue; infinite if the queue
 * itself removes and counts them. A queue counts from the last put-back on, so this is counted from the first time.
 */
export function overdueAtMs(
  { sentAtMs }: Pick<Delivery, "sentAtMs">,
  { queuedAtMs = Number.POSITIVE_INFINITY }: MessagePack,
  { ms, counted }: Pick<Retention, "ms" | "counted">,
): number {
  // The queue has counted them already if it removed the message while this process had it.
  if (counted && queuedAtMs === sentAtMs) return Number.POSITIVE_INFINITY;
  return queuedAtMs + ms;
}

/** Whether a queue that removes and counts old messages itself has done so with this one, or will do so when it looks next. */
export function isRemoved({ sentAtMs }: Pick<Delivery, "sentAtMs">, { ms, counted, nowMs }: Retention): boolean {
  return counted && nowMs() - sentAtMs >= ms;
}
