import { printable } from "../pack/request-text.ts";
import { parseMarks, parseSummary } from "../pack/summary.ts";
import { type Fitted, fitShares } from "../queue/fitting.ts";
import { anew, changeBody, forwardMessage, type MessagePack } from "../queue/message.ts";
import { type DeadLetter, type Delivery, type OutgoingMessage, QueueError, type QueueSender } from "../queue/port.ts";
import type { Ledger } from "../state/port.ts";
import type { DeadLetterSummary } from "./answers.ts";
import {
  type Copy,
  type Handled,
  keyOf,
  redrivesOf,
  remove,
  type SweepOptions,
  type Swept,
  sweep,
  toHandled,
  toLetters,
} from "./sweep.ts";

export interface RedriveOptions extends SweepOptions {
  /** The queue that the dead letters are put into. */
  readonly queue: QueueSender;
  /** The target whose ledger counts them; undefined for the ingress queue, whose dead letters no ledger counts. */
  readonly target?: string;
  /** The target whose queue that is, if it is another target. */
  readonly to?: string;
  readonly ledger: Pick<Ledger, "sheet" | "reopen" | "move">;
}

/** What the control API says about a dead letter. */
export function describeDeadLetter({ messageId, body, sentAtMs, reason }: DeadLetter): DeadLetterSummary {
  const summary = parseSummary(body);
  return {
    id: messageId,
    ...(summary && { requests: summary.count }),
    reason: printable(reason ?? parseMarks(body).reason ?? reasonOf(body) ?? "unknown"),
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
export function redrive(options: RedriveOptions): Promise<Swept> {
  return sweep(options, (deliveries, held) => sendAgain(options, deliveries, held));
}

/** Sends the packs and deletes their dead letters. Throws the first refusal at the end. */
async function sendAgain(
  options: RedriveOptions,
  deliveries: readonly Delivery[],
  held: Set<string>,
): Promise<Handled> {
  const { queue, deadLetters } = options;
  const letters = await toLetters(options, deliveries);
  const copies = letters.filter(({ requests }) => requests.length > 0);
  const fitted = copies.map((copy) => toMessages(options, copy));
  const refusals = await sendEach(queue, fitted);
  const sent = copies.filter((_, i) => refusals[i] === undefined);
  for (const copy of sent) await noteSent(options, copy);
  const obsolete = letters.filter(({ requests }) => requests.length === 0);
  await remove(
    deadLetters,
    [...sent, ...obsolete].map(({ delivery }) => delivery),
    held,
  );
  const refusal = refusals.find((error) => error !== undefined);
  if (refusal !== undefined) throw refusal;
  return toHandled(deliveries, letters);
}

async function noteSent({ target, to, ledger }: RedriveOptions, { pack, requests }: Copy): Promise<void> {
  if (target === undefined) return;
  const indexes = requests.map(({ index }) => index);
  const redrives = redrivesOf(pack) + 1;
  // The ledger counts a pack of a job under the job, whatever its target is.
  if (to === undefined || pack.job) await ledger.reopen(keyOf(target, pack), pack.id, indexes, redrives);
  else await ledger.move(target, to, pack.id, indexes, redrives);
}

/** Sends the messages of each copy; returns for each copy why one of its messages was not stored, or undefined. */
async function sendEach(queue: QueueSender, copies: readonly Fitted[]): Promise<readonly (QueueError | undefined)[]> {
  const messages = copies.map(({ shares, unfit }) => (unfit.length > 0 ? [] : shares.map(({ message }) => message)));
  const results = [...(await trySend(queue, messages.flat()))];
  return copies.map(({ unfit }, i) => {
    const errors = results.splice(0, messages[i].length);
    return unfit.length > 0 ? tooBig() : errors.find((error) => error !== undefined);
  });
}

async function trySend(
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

function tooBig(): QueueError {
  return new QueueError("TOO_BIG", "a dead letter does not fit into a message of the queue: it stays where it is");
}

function toMessages(
  { queue, deadLetters, target, startedAtMs }: RedriveOptions,
  { delivery, pack, requests }: Copy,
): Fitted {
  const nowMs = deadLetters.retention.nowMs();
  // The fan-out counts nothing as redriven: for it the pack is the same as before.
  if (target === undefined)
    return { shares: [{ message: forwardMessage(withoutReason(delivery), pack, nowMs), requests }], unfit: [] };
  const redrive = { count: redrivesOf(pack) + 1, atMs: startedAtMs };
  return fitShares({ ...withoutTime(anew(pack, nowMs)), redrive }, requests, { attempt: 0 }, queue);
}

/** The message as it was before it became a dead letter. */
function withoutReason({ body, pack }: Delivery): Pick<Delivery, "body" | "pack"> {
  const toOriginal = (summary: { readonly v?: unknown; readonly reason?: unknown }) => {
    const { reason: _, ...original } = summary;
    return summary.v === 1 ? original : summary;
  };
  return { body: changeBody(body, toOriginal), pack };
}

/** A job's pack without its due times, which have passed: it is sent again at the target's rate. */
function withoutTime(pack: MessagePack): MessagePack {
  return pack.job ? { ...pack, job: { id: pack.job.id } } : pack;
}

function reasonOf(body: string): string | undefined {
  try {
    const { reason } = JSON.parse(body) as { reason?: unknown };
    return typeof reason === "string" ? reason : undefined;
  } catch {
    return undefined;
  }
}
