import { messageBytes } from "./fitting.ts";
import { withoutSince } from "./message.ts";
import { findMessageMistake } from "./message-mistake.ts";
import {
  type BrowsableQueue,
  type DeadLetter,
  type Delivery,
  maxMessageBytes,
  type OpenQueue,
  type OutgoingMessage,
  type QueueBacklog,
  type QueueDepth,
  type QueueEntrance,
  QueueError,
  type ReceiveOptions,
  type Retention,
} from "./port.ts";
import { type MessageRow, QueueFile, type QueueFileOptions } from "./queue-file.ts";
import { deadLane, mainLane } from "./queue-sql.ts";

export interface EmbeddedQueueOptions extends QueueFileOptions {
  /** A message that was received this many times and never deleted becomes a dead letter; default 100. */
  readonly maxReceives?: number;
}

/** One of the two lanes of a queue file: its messages or its dead letters. */
class QueueLane implements BrowsableQueue {
  readonly maxMessageBytes = maxMessageBytes;
  readonly clockToleranceMs = 0;
  readonly retention: Retention;
  readonly #file: QueueFile;
  readonly #lane: number;
  readonly #maxReceives: number;

  constructor(file: QueueFile, lane: number, maxReceives: number) {
    this.#file = file;
    this.#lane = lane;
    this.#maxReceives = maxReceives;
    this.retention = { ms: file.retentionMs, counted: true, nowMs: () => file.nowMs() };
  }

  /** Stores all valid messages in one transaction: either all of them are stored, and survive a power failure, or it rejects. */
  async send(messages: readonly OutgoingMessage[]): Promise<readonly (QueueError | undefined)[]> {
    const mistakes = messages.map(findMistake);
    const taken = messages.filter((_, i) => mistakes[i] === undefined);
    if (taken.length > 0) {
      this.#file.transaction(({ add, addPayload }, nowMs) => {
        for (const { body, pack, requests, delayMs = 0 } of taken) {
          const hiddenUntilMs = delayMs > 0 ? Math.ceil(nowMs + delayMs) : null;
          const { lastInsertRowid } = add.run(this.#lane, requests, this.#file.wallMs(), nowMs, hiddenUntilMs);
          addPayload.run(lastInsertRowid, body, pack);
        }
      });
      this.#file.wake();
      await this.#file.sync();
    }
    return mistakes;
  }

  /** Returns the oldest first. Sees messages of this object at once, and messages of other senders within 25 ms. */
  async receive({ max, waitMs, visibilityMs, signal }: ReceiveOptions): Promise<readonly Delivery[]> {
    assertWithin("max", max, 1, 10);
    assertWithin("visibilityMs", visibilityMs, 0, maxVisibilityMs);
    const endMs = performance.now() + waitMs;
    while (!signal.aborted) {
      // Reads before it takes the write lock, so that waiting receivers do not block senders.
      const deliveries = this.#somethingIsDue() ? this.#take(max, visibilityMs) : [];
      if (deliveries.length > 0) return deliveries;
      this.#file.noteTime();
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) break;
      await this.#file.change(Math.min(leftMs, pollMs), signal);
      if (this.#file.closed) break;
    }
    return [];
  }

  async delete(receipts: readonly string[]): Promise<void> {
    const named = receipts.map(parseReceipt);
    this.#file.transaction(({ remove }) => {
      for (const { id, receives } of named) remove.run(id, this.#lane, receives);
    });
    this.#file.scrubSoon();
  }

  async extend(receipt: string, visibilityMs: number): Promise<void> {
    assertWithin("visibilityMs", visibilityMs, 0, maxVisibilityMs);
    const { id, receives } = parseReceipt(receipt);
    this.#file.transaction(({ hide }, nowMs) => {
      const hiddenUntilMs = visibilityMs > 0 ? Math.ceil(nowMs + visibilityMs) : null;
      hide.run(hiddenUntilMs, id, this.#lane, receives);
    });
    if (visibilityMs === 0) this.#file.wake();
  }

  /** In the order they were first sent, without receiving them. */
  async browse(max: number): Promise<readonly DeadLetter[]> {
    assertWithin("max", max, 1, 1_000);
    const rows = this.#file.read(({ list, listDead }) =>
      this.#lane === deadLane ? listDead.all(max) : list.all(max),
    ) as unknown as MessageRow[];
    return rows.map(({ id, body, pack, sentAtMs, reason }) => ({
      messageId: String(id),
      body,
      pack,
      sentAtMs,
      ...(reason !== null && { reason }),
    }));
  }

  /** Includes delayed messages and messages in flight. */
  depth(): QueueDepth {
    this.#removeExpired();
    return { ...(this.#file.read(({ count }) => count.get(this.#lane)) as unknown as QueueDepth) };
  }

  /** What retention has removed from this lane since the file was created. */
  expired(): QueueDepth {
    this.#removeExpired();
    return { ...(this.#file.read(({ countExpired }) => countExpired.get(this.#lane)) as unknown as QueueDepth) };
  }

  #somethingIsDue(): boolean {
    const lane = this.#lane;
    return this.#file.read(({ due }, nowMs) => {
      return due.get(lane, lane, nowMs, lane, nowMs - this.#file.retentionMs)?.due === 1;
    });
  }

  #take(max: number, visibilityMs: number): Delivery[] {
    const deliveries: Delivery[] = [];
    let givenUp = 0;
    this.#file.transaction((statements, nowMs) => {
      const { showDue, oldest, handOut, giveUp } = statements;
      this.#file.expire(statements, this.#lane, nowMs);
      showDue.run(this.#lane, nowMs);
      for (;;) {
        const rows = oldest.all(this.#lane, max - deliveries.length) as unknown as MessageRow[];
        for (const row of rows) {
          if (row.receives >= this.#maxReceives) {
            giveUp.run(deadLane, nowMs, `received ${row.receives} times and never finished`, row.id);
            givenUp++;
            continue;
          }
          handOut.run(Math.ceil(nowMs + visibilityMs), row.id);
          deliveries.push(toDelivery(row));
        }
        if (rows.length === 0 || deliveries.length === max) break;
      }
    });
    if (givenUp > 0) this.#file.wake();
    return deliveries;
  }

  #removeExpired(): void {
    const oldMs = (nowMs: number) => nowMs - this.#file.retentionMs;
    while (this.#file.read(({ aged }, nowMs) => aged.get(this.#lane, oldMs(nowMs))) !== undefined) {
      this.#file.transaction((statements, nowMs) => this.#file.expire(statements, this.#lane, nowMs));
    }
  }
}

/**
 * A queue for one machine, with the semantics of SQS: one SQLite file, including the dead letters, that any number of
 * processes and threads may open. Messages that `send` has stored survive the death of any process and a power failure. After a
 * power failure some messages may be delivered again that were deleted before. All methods throw `QueueError`.
 */
export class EmbeddedQueue extends QueueLane implements OpenQueue {
  readonly queue = this;
  readonly entrance: QueueEntrance;
  /** They stay, however often they are received. */
  readonly deadLetters: QueueLane;
  readonly #file: QueueFile;

  static open(options: EmbeddedQueueOptions): EmbeddedQueue {
    return new EmbeddedQueue(new QueueFile(options), options.maxReceives ?? 100);
  }

  private constructor(file: QueueFile, maxReceives: number) {
    super(file, mainLane, maxReceives);
    this.#file = file;
    this.entrance = {
      maxMessageBytes,
      send: async (messages) => {
        const excess = file.findExcess(messages.reduce((sum, message) => sum + messageBytes(message), 0));
        if (excess !== undefined) throw new QueueError("FULL", `queue ${file.name} ${excess}`);
        return this.send(messages);
      },
      isHalfFull: () => file.usedBytes() > file.maxBytes / 2,
    };
    this.deadLetters = new QueueLane(file, deadLane, Number.POSITIVE_INFINITY);
  }

  async backlog(): Promise<QueueBacklog> {
    const { messages, requests } = this.depth();
    const dead = this.deadLetters.depth();
    return {
      messages,
      requests,
      expiredRequests: this.expired().requests,
      deadMessages: dead.messages,
      deadRequests: dead.requests,
      expiredDeadRequests: this.deadLetters.expired().requests,
      bytes: this.#file.usedBytes(),
      ...(this.#file.maxBytes < Number.POSITIVE_INFINITY && { maxBytes: this.#file.maxBytes }),
    };
  }

  /** Ends waiting receives; they return no messages. */
  close(): void {
    this.#file.close();
  }
}

const maxVisibilityMs = 43_200_000;
const pollMs = 25;

function findMistake(message: OutgoingMessage): QueueError | undefined {
  const mistake = findMessageMistake(message, maxMessageBytes);
  if (mistake) return mistake;
  const { requests } = message;
  if (!Number.isSafeInteger(requests) || requests < 0) {
    return new QueueError("BAD_ARGUMENT", `the message has ${requests} requests; it must be a whole number, 0 or more`);
  }
  return undefined;
}

function assertWithin(name: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return;
  throw new QueueError("BAD_ARGUMENT", `${name} is ${value}; it must be from ${least} to ${most}`);
}

function toDelivery({ id, receives, body: text, pack, enteredAtMs: sentAtMs, adopted }: MessageRow): Delivery {
  const receiveCount = receives + 1;
  const body = adopted === 1 ? withoutSince(text) : text;
  return { messageId: String(id), receipt: `${id}.${receiveCount}`, body, pack, receiveCount, sentAtMs };
}

// The id of the message and its receive count: a newer delivery has a higher count, so an old receipt no longer matches.
function parseReceipt(receipt: string): { readonly id: number; readonly receives: number } {
  const match = /^(\d{1,15})\.(\d{1,15})$/.exec(receipt);
  if (match === null) throw new QueueError("BAD_ARGUMENT", `"${receipt}" is not a receipt of this queue`);
  return { id: Number(match[1]), receives: Number(match[2]) };
}
