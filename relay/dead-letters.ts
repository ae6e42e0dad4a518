import { DecodeError } from "./decode-error.ts";
import { readMessage, shareMessage } from "./message.ts";
import { parseSummary } from "./pack-summary.ts";
import type { Delivery, QueueReceiver, QueueSender } from "./queue/port.ts";
import { sendAll } from "./queue/send-all.ts";
import { printable } from "./request-text.ts";
import type { Ledger } from "./state/port.ts";

/** A dead letter in words. */
export interface DeadLetterLine {
  readonly messageId: string;
  readonly requests: number;
  readonly reason: string;
  readonly firstCapturedAt: string;
}

export interface Redriven {
  readonly requests: number;
  /** Dead letters that cannot be decoded and stay where they are. */
  readonly undecodable: number;
}

const visibilityMs = 60_000;

export function describeDeadLetter(letter: {
  readonly messageId: string;
  readonly body: string;
  readonly requests: number;
  readonly reason?: string;
}): DeadLetterLine {
  const summary = parseSummary(letter.body);
  return {
    messageId: letter.messageId,
    requests: letter.requests,
    reason: printable(letter.reason ?? summary?.reason ?? reasonOf(letter.body) ?? "unknown"),
    firstCapturedAt: printable(summary?.first ?? "unknown"),
  };
}

/**
 * Puts dead letters back into the target's queue, where they are paced like all others and begin with their first attempt.
 * With `messageId` only that one. What the ledger says of them is taken back first; those of the ingress queue, which are
 * in no ledger, need none.
 */
export async function redrive(
  target: string,
  queue: QueueSender,
  deadLetters: QueueReceiver,
  ledger: Ledger | undefined,
  messageId: string | undefined,
): Promise<Redriven> {
  const { signal } = new AbortController();
  const keep: string[] = [];
  let requests = 0;
  let undecodable = 0;
  for (;;) {
    const deliveries = await deadLetters.receive({ max: 10, waitMs: 0, visibilityMs, signal });
    if (deliveries.length === 0) break;
    for (const delivery of deliveries) {
      const wanted = messageId === undefined || delivery.messageId === messageId;
      const count = wanted ? await redriveOne(target, queue, deadLetters, ledger, delivery) : 0;
      if (wanted && count === undefined) undecodable++;
      if (count) requests += count;
      else keep.push(delivery.receipt);
    }
  }
  for (const receipt of keep) await deadLetters.extend(receipt, 0);
  return { requests, undecodable };
}

async function redriveOne(
  target: string,
  queue: QueueSender,
  deadLetters: QueueReceiver,
  ledger: Ledger | undefined,
  delivery: Delivery,
): Promise<number | undefined> {
  const pack = readMessage(delivery);
  if (pack instanceof DecodeError) return undefined;
  const indexes = pack.requests.map(({ index }) => index);
  // First: with their fate still noted, the replay would take them for done.
  await ledger?.unsettle(target, pack.id, indexes, "deadLettered");
  await sendAll(queue, [shareMessage(pack, pack.requests, { attempt: 0 })]);
  await deadLetters.delete([delivery.receipt]);
  return pack.requests.length;
}

function reasonOf(body: string): string | undefined {
  try {
    const { reason } = JSON.parse(body) as { reason?: unknown };
    return typeof reason === "string" ? reason : undefined;
  } catch {
    return undefined;
  }
}
