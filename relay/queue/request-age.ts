import { firstCapturedAtMs, type PackedRequest } from "../pack/pack.ts";
import type { MessagePack } from "./message.ts";
import { overdueAtMs } from "./overdue.ts";
import type { Delivery, Retention } from "./port.ts";

/** What the replay of a delivered pack has to know of the time that its requests have waited. */
export function toAges(delivery: Pick<Delivery, "sentAtMs">, pack: MessagePack, retention: Retention) {
  return {
    isOverdue: () => retention.nowMs() >= overdueAtMs(delivery, pack, retention),
    ageMs: (request: PackedRequest) => requestAgeMs(pack, request, retention.nowMs()),
    waitedMs: () => Math.max(0, retention.nowMs() - (pack.queuedAtMs ?? Number.POSITIVE_INFINITY)),
  };
}

/**
 * How old a request of a pack in a queue is, in milliseconds: the time for which it was held before, and that in the queue. The
 * clocks of the machine that captured it and of this one do not matter. Undefined if its agent did not tell, or the queue does
 * not say when it was sent.
 *
 * @param nowMs by the clock of the queue
 */
export function requestAgeMs(
  pack: Pick<MessagePack, "head" | "held" | "queuedAtMs">,
  { capturedAtMs }: Pick<PackedRequest, "capturedAtMs">,
  nowMs: number,
): number | undefined {
  const { held, queuedAtMs } = pack;
  if (!held || queuedAtMs === undefined) return undefined;
  const [firstMs, lastMs] = held;
  // The clock may have been set while the pack was open: the request is still between the first and the last.
  const heldMs = Math.min(firstMs, Math.max(lastMs, firstMs - (capturedAtMs - firstCapturedAtMs(pack))));
  return heldMs + Math.max(0, nowMs - queuedAtMs);
}
