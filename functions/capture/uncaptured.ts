import { z } from "zod";
import type { PackedRequest } from "../../relay/pack/pack.ts";
import { messageBytes } from "../../relay/queue/fitting.ts";
import { type MessagePack, returnMessage, shareMessage, toMarks } from "../../relay/queue/message.ts";
import { toMessageText } from "../../relay/queue/message-text.ts";
import { type Delivery, type OutgoingMessage, QueueError } from "../../relay/queue/port.ts";
import { retryDelayMs } from "../retry-delay.ts";

/** The captures that have not stored a pack yet. All targets already have it. */
export interface Uncaptured {
  /** Names of the captures that have not stored it yet. */
  readonly captures: readonly string[];
  /** Failed attempts so far. */
  readonly tries: number;
}

/** Undefined for a pack that must be fanned out. */
export function parseUncaptured(body: string): Uncaptured | undefined {
  try {
    return schema.parse(JSON.parse(body)).uncaptured;
  } catch {
    return undefined;
  }
}

/**
 * Messages that return a pack's requests for captures alone, with a delay that doubles each time. The captures are named in
 * the body, so that the fan-out need not look them up in the state store for every pack. Throws `QueueError` for a request that
 * does not fit into a message.
 */
export function toUncaptured(
  delivery: Pick<Delivery, "body" | "pack">,
  pack: MessagePack,
  requests: readonly PackedRequest[],
  uncaptured: Uncaptured,
  maxBytes: number,
): readonly OutgoingMessage[] {
  const whole = requests.length === pack.requests.length;
  const message = whole ? returnMessage(delivery, pack) : shareMessage(pack, requests, { attempt: pack.attempt });
  const delayMs = retryDelayMs(uncaptured.tries);
  const full = { ...message, body: toMessageText({ ...readSummary(message.body), uncaptured }), delayMs };
  if (messageBytes(full) <= maxBytes) return [full];
  // The pack was almost as large as a message can be, and its body has grown.
  const { captures } = uncaptured;
  if (requests.length > 1) {
    return halve(requests).flatMap((part) => toUncaptured(delivery, pack, part, uncaptured, maxBytes));
  }
  if (captures.length > 1) {
    return halve(captures).flatMap((part) =>
      toUncaptured(delivery, pack, requests, { ...uncaptured, captures: part }, maxBytes),
    );
  }
  // The summary repeats what is in the pack.
  const lean = { ...full, body: toMessageText({ v: 1, ...toMarks(pack), uncaptured }) };
  if (messageBytes(lean) <= maxBytes) return [lean];
  throw new QueueError("TOO_BIG", `a request for capture ${captures[0]} does not fit into a message`);
}

function halve<T>(all: readonly T[]): readonly (readonly T[])[] {
  const half = Math.ceil(all.length / 2);
  return [all.slice(0, half), all.slice(half)];
}

const schema = z.object({
  uncaptured: z.object({ captures: z.array(z.string()), tries: z.int().min(1) }).optional(),
});

/** Empty if the body is not ours: an agent of another version may have written it. The pack itself is still valid. */
function readSummary(body: string): object {
  try {
    const summary: unknown = JSON.parse(body);
    return typeof summary === "object" && summary !== null ? summary : {};
  } catch {
    return {};
  }
}
