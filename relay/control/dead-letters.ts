import { jobKey } from "../job/job.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { printable } from "../pack/request-text.ts";
import { parseSummary } from "../pack/summary.ts";
import { type MessagePack, readMessage, shareMessage } from "../queue/message.ts";
import { type DeadLetter, type Delivery, QueueError, type QueueReceiver, type QueueSender } from "../queue/port.ts";
import type { Ledger } from "../state/port.ts";
import type { DeadLetterSummary } from "./answers.ts";

export interface RedriveOptions {
  /** The queue that the dead letters are put back into. */
  readonly queue: QueueSender;
  readonly deadLetters: QueueReceiver;
  /** The target whose ledger counts them; undefined for the ingress queue, whose dead letters no ledger counts. */
  readonly target?: string;
  readonly ledger: Pick<Ledger, "settle" | "unsettle">;
  /** Redrives only the dead letter with this id. */
  readonly messageId?: string;
  /** Ends after this many dead letters or this time, even if some are left. */
  readonly maxMessages: number;
  readonly maxMs: number;
  /** How long to wait for a dead letter. Without a wait, SQS may report a queue as empty that is not. */
  readonly waitMs: number;
}

export interface Redriven {
  /** Dead letters that were put back into the queue, and the requests in them. */
  readonly messages: number;
  readonly requests: number;
  /** Dead letters that cannot be decoded and stay where they are. */
  readonly undecodable: number;
  /** False if it ended before it saw all dead letters. */
  readonly done: boolean;
}

// A redrive takes far less. If its process dies, the dead letters that it received become visible after this time.
const visibilityMs = 60_000;
const batch = 10;

/** What the control API says about a dead letter. */
export function describeDeadLetter({ messageId, body, sentAtMs, reason }: DeadLetter): DeadLetterSummary {
  const summary = parseSummary(body);
  return {
    id: messageId,
    ...(summary && { requests: summary.count }),
    reason: printable(reason ?? summary?.reason ?? reasonOf(body) ?? "unknown"),
    ...(summary && { firstCapturedAt: printable(summary.first) }),
    sentAt: new Date(sentAtMs).toISOString(),
  };
}

/**
 * Puts dead letters back into a queue, where they are paced like all other packs and start with their first attempt. First
 * removes their fates from the ledger. May be interrupted at any moment without a loss: a dead letter is deleted after its
 * copy is stored, and a pack that is sent twice is replayed once. Throws `QueueError` and `StateError`.
 */
export async function redrive(options: RedriveOptions): Promise<Redriven> {
  const { deadLetters, messageId, maxMessages, maxMs, waitMs } = options;
  const { signal } = new AbortController();
  const endMs = performance.now() + maxMs;
  const held = new Set<string>();
  const redriven = { messages: 0, requests: 0, undecodable: 0 };
  let done = false;
  try {
    while (!done && redriven.messages < maxMessages && performance.now() < endMs) {
      const max = Math.min(batch, maxMessages - redriven.messages);
      const deliveries = await deadLetters.receive({ max, waitMs, visibilityMs, signal });
      for (const { receipt } of deliveries) held.add(receipt);
      const wanted = deliveries.filter((delivery) => messageId === undefined || delivery.messageId === messageId);
      const packs = wanted.flatMap(toPack);
      redriven.undecodable += wanted.length - packs.length;
      await sendAgain(options, packs, held);
      redriven.messages += packs.length;
      for (const { pack } of packs) redriven.requests += pack.requests.length;
      done = deliveries.length === 0 || (messageId !== undefined && wanted.length > 0);
    }
  } catch (error) {
    await showAgain(deadLetters, held).catch(() => {});
    throw error;
  }
  // If another call follows, they stay hidden: it would receive them again before the others.
  if (done) await showAgain(deadLetters, held);
  return { ...redriven, done };
}

interface DeliveredPack {
  readonly receipt: string;
  readonly pack: MessagePack;
}

function toPack(delivery: Delivery): DeliveredPack[] {
  const pack = readMessage(delivery);
  return pack instanceof DecodeError ? [] : [{ receipt: delivery.receipt, pack }];
}

/** Sends the packs, deletes their dead letters and removes them from `held`. Throws the first refusal at the end. */
async function sendAgain(
  { queue, deadLetters, target, ledger }: RedriveOptions,
  packs: readonly DeliveredPack[],
  held: Set<string>,
): Promise<void> {
  if (packs.length === 0) return;
  // Withdrawn before the packs are sent: the replay skips requests that already have a fate.
  if (target !== undefined) {
    for (const { pack } of packs) await ledger.unsettle(keyOf(target, pack), pack.id, indexesOf(pack), "deadLettered");
  }
  const refusals = await sendEach(queue, packs);
  const sent = packs.filter((_, i) => refusals[i] === undefined).map(({ receipt }) => receipt);
  if (sent.length > 0) await deadLetters.delete(sent);
  for (const receipt of sent) held.delete(receipt);
  const refusal = refusals.find((error) => error !== undefined);
  if (refusal === undefined) return;
  if (target !== undefined) {
    // The refused packs remain dead letters.
    for (const { pack } of packs.filter((_, i) => refusals[i] !== undefined)) {
      await ledger.settle(
        keyOf(target, pack),
        pack.id,
        new Map(indexesOf(pack).map((index) => [index, "deadLettered"])),
      );
    }
  }
  throw refusal;
}

async function sendEach(
  queue: QueueSender,
  packs: readonly DeliveredPack[],
): Promise<readonly (QueueError | undefined)[]> {
  try {
    return await queue.send(packs.map(({ pack }) => shareMessage(withoutTime(pack), pack.requests, { attempt: 0 })));
  } catch (error) {
    if (error instanceof QueueError) return packs.map(() => error);
    throw error;
  }
}

/** The name under which the ledger counts the pack. */
function keyOf(target: string, { job }: MessagePack): string {
  return job ? jobKey(job.id) : target;
}

/** A job's pack without its due times, which have passed: it is sent again at the target's rate. */
function withoutTime(pack: MessagePack): MessagePack {
  return pack.job ? { ...pack, job: { id: pack.job.id } } : pack;
}

async function showAgain(deadLetters: QueueReceiver, receipts: ReadonlySet<string>): Promise<void> {
  await Promise.all([...receipts].map((receipt) => deadLetters.extend(receipt, 0)));
}

function indexesOf(pack: MessagePack): number[] {
  return pack.requests.map(({ index }) => index);
}

function reasonOf(body: string): string | undefined {
  try {
    const { reason } = JSON.parse(body) as { reason?: unknown };
    return typeof reason === "string" ? reason : undefined;
  } catch {
    return undefined;
  }
}
