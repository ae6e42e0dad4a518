import { jobKey } from "../job/job.ts";
import { DecodeError } from "../pack/decode-error.ts";
import type { PackedRequest } from "../pack/pack.ts";
import { printable } from "../pack/request-text.ts";
import { parseSummary } from "../pack/summary.ts";
import { forwardMessage, type MessagePack, readMessage, shareMessage } from "../queue/message.ts";
import {
  type DeadLetter,
  type DeadLetterQueue,
  type Delivery,
  type OutgoingMessage,
  QueueError,
  type QueueReceiver,
  type QueueSender,
} from "../queue/port.ts";
import { outgrownIndexes } from "../state/fate-sheet.ts";
import type { Ledger } from "../state/port.ts";
import type { DeadLetterSummary } from "./answers.ts";

export interface RedriveOptions {
  /** The queue that the dead letters are put back into. */
  readonly queue: QueueSender;
  readonly deadLetters: QueueReceiver & Pick<DeadLetterQueue, "clockToleranceMs">;
  /** The target whose ledger counts them; undefined for the ingress queue, whose dead letters no ledger counts. */
  readonly target?: string;
  readonly ledger: Pick<Ledger, "sheet" | "reopen">;
  /** Redrives only the dead letter with this id, whatever its age. */
  readonly messageId?: string;
  /**
   * When the redrive started, in milliseconds since 1970, by the clock of this machine. Newer dead letters stay: a request
   * that dies again is not redriven twice, and the redrive ends even if more requests die meanwhile.
   */
  readonly startedAtMs: number;
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
  /** Dead letters that a crash left although their requests were answered or redriven: removed, not sent. */
  readonly obsolete: number;
  /** Dead letters that cannot be decoded and stay where they are. */
  readonly undecodable: number;
  /** Dead letters that are newer than the redrive and stay where they are. */
  readonly newer: number;
  /** False if it ended before it saw all dead letters. */
  readonly done: boolean;
}

// A redrive takes far less. If its process dies, the dead letters that it received become visible after this time.
const visibilityMs = 60_000;
const batch = 10;
// After this many batches in a row with newer dead letters only, the older ones are taken as done: SQS returns them in no
// order, and while requests keep dying there is always another batch.
const newerBatches = 5;

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
 * Puts dead letters back into a queue, where they are paced like all other packs and start with their first attempt. May be
 * interrupted at any moment without a loss: first the copy is stored, then the fates are withdrawn, then the dead letter is
 * deleted. The copy has a higher count of redrives, so nothing that is left of the older copies counts or is sent any more.
 * Throws `QueueError` and `StateError`.
 */
export async function redrive(options: RedriveOptions): Promise<Redriven> {
  const { deadLetters, messageId, maxMessages, maxMs, waitMs } = options;
  const { signal } = new AbortController();
  const endMs = performance.now() + maxMs;
  const held = new Set<string>();
  const redriven = { messages: 0, requests: 0, obsolete: 0, undecodable: 0, newer: 0 };
  let done = false;
  let newerInARow = 0;
  try {
    while (!done && redriven.messages + redriven.obsolete < maxMessages && performance.now() < endMs) {
      const max = Math.min(batch, maxMessages - redriven.messages - redriven.obsolete);
      const deliveries = await deadLetters.receive({ max, waitMs, visibilityMs, signal });
      for (const { receipt } of deliveries) held.add(receipt);
      const named = deliveries.filter((delivery) => messageId === undefined || delivery.messageId === messageId);
      const wanted = named.filter((delivery) => messageId !== undefined || isOlder(delivery, options));
      const packs = wanted.flatMap(toPack);
      redriven.newer += named.length - wanted.length;
      redriven.undecodable += wanted.length - packs.length;
      const copies = await sendAgain(options, packs, held);
      redriven.messages += copies.length;
      redriven.obsolete += packs.length - copies.length;
      for (const { requests } of copies) redriven.requests += requests.length;
      newerInARow = wanted.length === 0 && named.length > 0 ? newerInARow + 1 : 0;
      done = deliveries.length === 0 || newerInARow === newerBatches || (messageId !== undefined && named.length > 0);
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
  readonly delivery: Delivery;
  readonly pack: MessagePack;
}

/** A dead letter with those of its requests that it still holds, which are sent again. */
interface Copy extends DeliveredPack {
  readonly requests: readonly PackedRequest[];
}

/** Whether a dead letter is older than the redrive. One that this redrive sent before is not, whatever the clocks say. */
function isOlder({ sentAtMs, body }: Delivery, { startedAtMs, deadLetters }: RedriveOptions): boolean {
  const { redrive: last } = parseSummary(body) ?? {};
  return sentAtMs <= startedAtMs + deadLetters.clockToleranceMs && !(last && Date.parse(last.at) >= startedAtMs);
}

function toPack(delivery: Delivery): DeliveredPack[] {
  const pack = readMessage(delivery);
  return pack instanceof DecodeError ? [] : [{ delivery, pack }];
}

/**
 * Sends the packs, deletes their dead letters and removes them from `held`; also deletes dead letters that hold no requests
 * any more. Returns what was sent. Throws the first refusal at the end.
 */
async function sendAgain(
  options: RedriveOptions,
  packs: readonly DeliveredPack[],
  held: Set<string>,
): Promise<readonly Copy[]> {
  if (packs.length === 0) return [];
  const { queue, deadLetters, target, ledger } = options;
  const letters = withoutRepeats(await Promise.all(packs.map((pack) => toCopy(options, pack))));
  const copies = letters.filter(({ requests }) => requests.length > 0);
  const refusals = await sendEach(
    queue,
    copies.map((copy) => toMessage(options, copy)),
  );
  const sent = copies.filter((_, i) => refusals[i] === undefined);
  if (target !== undefined) {
    for (const { pack, requests } of sent) {
      const indexes = requests.map(({ index }) => index);
      await ledger.reopen(keyOf(target, pack), pack.id, indexes, redrivesOf(pack) + 1);
    }
  }
  const obsolete = letters.filter(({ requests }) => requests.length === 0);
  const finished = [...sent, ...obsolete].map(({ delivery }) => delivery.receipt);
  if (finished.length > 0) await deadLetters.delete(finished);
  for (const receipt of finished) held.delete(receipt);
  const refusal = refusals.find((error) => error !== undefined);
  if (refusal !== undefined) throw refusal;
  return copies;
}

async function toCopy({ target, ledger }: RedriveOptions, delivered: DeliveredPack): Promise<Copy> {
  const { pack } = delivered;
  if (target === undefined) return { ...delivered, requests: pack.requests };
  const outgrown = outgrownIndexes(await ledger.sheet(keyOf(target, pack), pack.id), redrivesOf(pack));
  return { ...delivered, requests: pack.requests.filter(({ index }) => !outgrown.has(index)) };
}

/** Of two dead letters that hold the same request, which a crash can leave, only the first sends it. */
function withoutRepeats(letters: readonly Copy[]): readonly Copy[] {
  const seen = new Set<string>();
  return letters.map((letter) => {
    const requests = letter.requests.filter(({ index }) => {
      const name = `${letter.pack.job?.id}/${letter.pack.id}/${index}`;
      return !seen.has(name) && seen.add(name);
    });
    return { ...letter, requests };
  });
}

async function sendEach(
  queue: QueueSender,
  messages: readonly OutgoingMessage[],
): Promise<readonly (QueueError | undefined)[]> {
  if (messages.length === 0) return [];
  try {
    return await queue.send(messages);
  } catch (error) {
    if (error instanceof QueueError) return messages.map(() => error);
    throw error;
  }
}

function toMessage({ target, startedAtMs }: RedriveOptions, { delivery, pack, requests }: Copy): OutgoingMessage {
  // The fan-out counts nothing as redriven: for it the pack is the same as before.
  if (target === undefined) return forwardMessage(withoutReason(delivery), pack);
  const redrive = { count: redrivesOf(pack) + 1, atMs: startedAtMs };
  return shareMessage({ ...withoutTime(pack), redrive }, requests, { attempt: 0 });
}

/** The message as it was before it became a dead letter. */
function withoutReason({ body, pack }: Delivery): Pick<Delivery, "body" | "pack"> {
  if (!parseSummary(body)) return { body, pack };
  const { reason: _, ...summary } = JSON.parse(body);
  return { body: JSON.stringify(summary), pack };
}

function redrivesOf({ redrive: last }: MessagePack): number {
  return last?.count ?? 0;
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

function reasonOf(body: string): string | undefined {
  try {
    const { reason } = JSON.parse(body) as { reason?: unknown };
    return typeof reason === "string" ? reason : undefined;
  } catch {
    return undefined;
  }
}
