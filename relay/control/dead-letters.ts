import { jobKey } from "../job/job.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { printable } from "../pack/request-text.ts";
import { parseSummary } from "../pack/summary.ts";
import { type MessagePack, readMessage, shareMessage } from "../queue/message.ts";
import { type DeadLetter, type Delivery, QueueError, type QueueReceiver, type QueueSender } from "../queue/port.ts";
import type { Ledger } from "../state/port.ts";
import type { DeadLetterSummary } from "./answers.ts";

export interface RedriveOptions {
  /** Where they go. */
  readonly queue: QueueSender;
  readonly deadLetters: QueueReceiver;
  /** The target whose ledger has them; those of the ingress queue are in none. */
  readonly target?: string;
  readonly ledger: Pick<Ledger, "settle" | "unsettle">;
  /** Only this one. */
  readonly messageId?: string;
  /** Ends after so many dead letters and after this time, whatever is left. */
  readonly maxMessages: number;
  readonly maxMs: number;
  /** How long to wait for a dead letter: where it does not wait, SQS may say of a queue that it is empty. */
  readonly waitMs: number;
}

export interface Redriven {
  /** Dead letters that went back, and the requests in them. */
  readonly messages: number;
  readonly requests: number;
  /** Dead letters that cannot be decoded and stay where they are. */
  readonly undecodable: number;
  /** False where it has ended before it saw all of them. */
  readonly done: boolean;
}

// A redrive ends long before: what it has received comes again by itself if its process dies.
const visibilityMs = 60_000;
const batch = 10;

/** A dead letter in words. */
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
 * Puts dead letters back into a queue, where they are paced like all others and begin with their first attempt. What the
 * ledger says of them is taken back first. Ends at any moment without a loss: a dead letter goes when its copy is stored,
 * and one that is sent twice is replayed once. Throws `QueueError` and `StateError`.
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
  // Where it is to go on they stay hidden: the next call would meet them again before the others.
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

/** Takes those out of `held` that are done. Throws the first refusal, after the others are done. */
async function sendAgain(
  { queue, deadLetters, target, ledger }: RedriveOptions,
  packs: readonly DeliveredPack[],
  held: Set<string>,
): Promise<void> {
  if (packs.length === 0) return;
  // First: with their fate still noted, the replay would take them for done.
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
    // They are dead letters after all.
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

/** Under which name the ledger has the pack. */
function keyOf(target: string, { job }: MessagePack): string {
  return job ? jobKey(job.id) : target;
}

/** What a job could not deliver is sent at the target's rate when it is sent again: its time is over, and perhaps its job. */
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
