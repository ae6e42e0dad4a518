import { jobKey } from "../job/job.ts";
import { DecodeError } from "../pack/decode-error.ts";
import type { PackedRequest } from "../pack/pack.ts";
import { parseMarks } from "../pack/summary.ts";
import { type MessagePack, readMessage } from "../queue/message.ts";
import type { BrowsableQueue, Delivery, QueueReceiver } from "../queue/port.ts";
import { outgrownIndexes } from "../state/fate-sheet.ts";
import type { Ledger } from "../state/port.ts";

export interface SweepOptions {
  readonly deadLetters: QueueReceiver & Pick<BrowsableQueue, "clockToleranceMs" | "retention">;
  /** Only the dead letter with this id, whatever its age. */
  readonly messageId?: string;
  /**
   * When the redrive, or the discarding, started, in milliseconds since 1970, by the clock of the queue. Newer dead letters
   * stay: a request that dies again is not redriven twice, and the redrive ends even if more requests die meanwhile.
   */
  readonly startedAtMs: number;
  /** Ends after this many dead letters or this time, even if some are left. */
  readonly maxMessages: number;
  readonly maxMs: number;
  /** How long to wait for a dead letter. Without a wait, SQS may report a queue as empty that is not. */
  readonly waitMs: number;
}

/** The dead letters that a batch, or a whole sweep, has dealt with. */
export interface Handled {
  /** Dead letters that were sent again or discarded, and the requests in them. */
  readonly messages: number;
  readonly requests: number;
  /** Dead letters that a crash left although their requests were answered or redriven: removed, not sent. */
  readonly obsolete: number;
  /** Dead letters that cannot be decoded. A redrive leaves them where they are, and `discard` removes them. */
  readonly undecodable: number;
}

export interface Swept extends Handled {
  /** Dead letters that are newer than the start and stay where they are. */
  readonly newer: number;
  /** False if it ended before it saw all dead letters. */
  readonly done: boolean;
}

interface DeliveredPack {
  readonly delivery: Delivery;
  readonly pack: MessagePack;
}

/** A dead letter with those of its requests that it still holds, which are sent again. */
export interface Copy extends DeliveredPack {
  readonly requests: readonly PackedRequest[];
}

// A redrive takes far less. If its process dies, the dead letters that it received become visible after this time.
const visibilityMs = 60_000;
const batch = 10;
// After this many batches in a row with newer dead letters only, the older ones are taken as done: SQS returns them in no
// order, and while requests keep dying there is always another batch.
const newerBatches = 5;

/**
 * Receives dead letters in batches and passes them on.
 *
 * @param work removes the receipts of those that it deletes from `held`
 */
export async function sweep(
  options: SweepOptions,
  work: (deliveries: readonly Delivery[], held: Set<string>) => Promise<Handled>,
): Promise<Swept> {
  const { deadLetters, messageId, maxMessages, maxMs, waitMs } = options;
  const { signal } = new AbortController();
  const endMs = performance.now() + maxMs;
  const held = new Set<string>();
  const swept = { messages: 0, requests: 0, obsolete: 0, undecodable: 0, newer: 0 };
  let done = false;
  let newerInARow = 0;
  try {
    while (!done && swept.messages + swept.obsolete < maxMessages && performance.now() < endMs) {
      const max = Math.min(batch, maxMessages - swept.messages - swept.obsolete);
      const deliveries = await deadLetters.receive({ max, waitMs, visibilityMs, signal });
      for (const { receipt } of deliveries) held.add(receipt);
      const named = deliveries.filter((delivery) => messageId === undefined || delivery.messageId === messageId);
      const wanted = named.filter((delivery) => messageId !== undefined || isOlder(delivery, options));
      const handled = await work(wanted, held);
      for (const name of ["messages", "requests", "obsolete", "undecodable"] as const) swept[name] += handled[name];
      swept.newer += named.length - wanted.length;
      newerInARow = wanted.length === 0 && named.length > 0 ? newerInARow + 1 : 0;
      done = deliveries.length === 0 || newerInARow === newerBatches || (messageId !== undefined && named.length > 0);
    }
  } catch (error) {
    await showAgain(deadLetters, held).catch(() => {});
    throw error;
  }
  // If another call follows, they stay hidden: it would receive them again before the others.
  if (done) await showAgain(deadLetters, held);
  return { ...swept, done };
}

/** The dead letters that can be decoded, each with the requests that it still holds. Without a target, it holds them all. */
export async function toLetters(
  source: { readonly target?: string; readonly ledger: Pick<Ledger, "sheet"> },
  deliveries: readonly Delivery[],
): Promise<readonly Copy[]> {
  const packs = deliveries.flatMap(toPack);
  return withoutRepeats(await Promise.all(packs.map((pack) => toCopy(source, pack))));
}

export function toHandled(deliveries: readonly Delivery[], letters: readonly Copy[]): Handled {
  const obsolete = letters.filter(({ requests }) => requests.length === 0).length;
  return {
    messages: letters.length - obsolete,
    requests: letters.reduce((sum, { requests }) => sum + requests.length, 0),
    obsolete,
    undecodable: deliveries.length - letters.length,
  };
}

export async function remove(
  deadLetters: QueueReceiver,
  deliveries: readonly Delivery[],
  held: Set<string>,
): Promise<void> {
  const receipts = deliveries.map(({ receipt }) => receipt);
  if (receipts.length > 0) await deadLetters.delete(receipts);
  for (const receipt of receipts) held.delete(receipt);
}

export function redrivesOf({ redrive: last }: MessagePack): number {
  return last?.count ?? 0;
}

/** The name under which the ledger counts the pack. */
export function keyOf(target: string, { job }: MessagePack): string {
  return job ? jobKey(job.id) : target;
}

/**
 * Whether a dead letter is older than the redrive. One that this redrive sent before is not, whatever the clocks say. A redrive
 * from another queue has left a time by the clock of that queue, which says nothing here.
 */
function isOlder({ sentAtMs, body }: Delivery, { startedAtMs, deadLetters }: SweepOptions): boolean {
  const { redrive: last } = parseMarks(body);
  return sentAtMs <= startedAtMs + deadLetters.clockToleranceMs && !(last && Date.parse(last.at) === startedAtMs);
}

function toPack(delivery: Delivery): DeliveredPack[] {
  const pack = readMessage(delivery);
  return pack instanceof DecodeError ? [] : [{ delivery, pack }];
}

async function toCopy(
  { target, ledger }: { readonly target?: string; readonly ledger: Pick<Ledger, "sheet"> },
  delivered: DeliveredPack,
): Promise<Copy> {
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

async function showAgain(deadLetters: QueueReceiver, receipts: ReadonlySet<string>): Promise<void> {
  await Promise.all([...receipts].map((receipt) => deadLetters.extend(receipt, 0)));
}
