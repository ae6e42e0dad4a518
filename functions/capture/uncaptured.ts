import { z } from "zod";
import type { Pack, PackedRequest } from "../../relay/pack/pack.ts";
import { forwardMessage, shareMessage } from "../../relay/queue/message.ts";
import type { Delivery, OutgoingMessage } from "../../relay/queue/port.ts";
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
 * the body, so that the fan-out need not look them up in the state store for every pack.
 */
export function toUncaptured(
  delivery: Pick<Delivery, "body" | "pack">,
  pack: Pack,
  requests: readonly PackedRequest[],
  uncaptured: Uncaptured,
  maxBytes: number,
): readonly OutgoingMessage[] {
  const whole = requests.length === pack.requests.length;
  const message = whole ? forwardMessage(delivery, pack) : shareMessage(pack, requests, { attempt: pack.attempt });
  const body = JSON.stringify({ ...readSummary(message.body), uncaptured });
  if (Buffer.byteLength(body) + message.pack.length > maxBytes && requests.length > 1) {
    // The pack was almost as large as a message can be, and its body has grown.
    const half = Math.ceil(requests.length / 2);
    const halves = [requests.slice(0, half), requests.slice(half)];
    return halves.flatMap((part) => toUncaptured(delivery, pack, part, uncaptured, maxBytes));
  }
  return [{ ...message, body, delayMs: retryDelayMs(uncaptured.tries) }];
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
