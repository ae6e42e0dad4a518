import { z } from "zod";
import type { Pack, PackedRequest } from "../../relay/pack/pack.ts";
import { forwardMessage, shareMessage } from "../../relay/queue/message.ts";
import type { Delivery, OutgoingMessage } from "../../relay/queue/port.ts";
import { retryDelayMs } from "../retry-delay.ts";

/** What is left to be done with a pack that all targets have got. */
export interface Uncaptured {
  /** Names of captures that could not keep it yet. */
  readonly captures: readonly string[];
  /** How often they have tried. */
  readonly tries: number;
}

/** Undefined for a pack that is to be fanned out. */
export function parseUncaptured(body: string): Uncaptured | undefined {
  try {
    return schema.parse(JSON.parse(body)).uncaptured;
  } catch {
    return undefined;
  }
}

/**
 * Messages that bring a pack's requests back for captures alone, each time later. They stand in the body, so that nobody
 * has to be asked what was done before: the state least of all, which is asked for every pack then.
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
    // The pack was as large as a message can be, and its body has grown.
    const half = Math.ceil(requests.length / 2);
    const halves = [requests.slice(0, half), requests.slice(half)];
    return halves.flatMap((part) => toUncaptured(delivery, pack, part, uncaptured, maxBytes));
  }
  return [{ ...message, body, delayMs: retryDelayMs(uncaptured.tries) }];
}

const schema = z.object({
  uncaptured: z.object({ captures: z.array(z.string()), tries: z.int().min(1) }).optional(),
});

/** An agent of another version may have written a body that we do not know; its pack is what counts. */
function readSummary(body: string): object {
  try {
    const summary: unknown = JSON.parse(body);
    return typeof summary === "object" && summary !== null ? summary : {};
  } catch {
    return {};
  }
}
