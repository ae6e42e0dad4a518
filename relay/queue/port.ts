/** A message to send. */
export interface OutgoingMessage {
  /** The pack's summary as JSON, see `PackSummary`. Not empty, and only characters that SQS accepts, see `toMessageText`. */
  readonly body: string;
  /** Empty only in a dead letter that another program sent: it has no pack. */
  readonly pack: Uint8Array;
  /** Number of requests in the pack, for queues that can count the requests in them. */
  readonly requests: number;
  /** How long the message stays hidden after sending, at most 15 minutes. */
  readonly delayMs?: number;
}

/** A received message. Unless it is deleted before its visibility timeout ends, the queue delivers it again. */
export interface Delivery {
  /** The same in every delivery of this message. */
  readonly messageId: string;
  /** Identifies this one delivery. */
  readonly receipt: string;
  readonly body: string;
  readonly pack: Uint8Array;
  /** How often the message was received, including this time. */
  readonly receiveCount: number;
  /** When it entered the queue, in milliseconds since 1970 by the clock of the queue, see `Retention`. */
  readonly sentAtMs: number;
}

export interface ReceiveOptions {
  /** 1 to 10. */
  readonly max: number;
  /** How long to wait for the first message. */
  readonly waitMs: number;
  readonly visibilityMs: number;
  readonly signal: AbortSignal;
}

/** The sending side of a queue. */
export interface QueueSender {
  /** Size of the largest message, body and pack together. */
  readonly maxMessageBytes: number;
  /** Stores the messages durably. Returns one entry per message: undefined, or why it was not stored. Throws `QueueError`. */
  send(messages: readonly OutgoingMessage[]): Promise<readonly (QueueError | undefined)[]>;
}

/** The receiving side of a queue, which delivers each message at least once. */
export interface QueueReceiver {
  /** Returns up to `max` messages; none if `waitMs` passed or the signal was aborted. Throws `QueueError`. */
  receive(options: ReceiveOptions): Promise<readonly Delivery[]>;
  /** Deletes delivered messages. Ignores receipts that are no longer the newest of their message. */
  delete(receipts: readonly string[]): Promise<void>;
  /** Hides a delivered message for `visibilityMs` from now; 0 shows it at once. */
  extend(receipt: string, visibilityMs: number): Promise<void>;
}

/** A message that was given up, kept for a person to look at. */
export interface DeadLetter {
  readonly messageId: string;
  readonly body: string;
  readonly pack: Uint8Array;
  /** For people, by the wall clock. */
  readonly sentAtMs: number;
  /** Why it was given up; undefined if its body contains the reason, or if it was put there by hand. */
  readonly reason?: string;
}

/** A queue whose messages can be looked at, above all that of the dead letters. */
export interface BrowsableQueue extends QueueSender, QueueReceiver {
  /** How far the clock of the queue may be ahead of `retention.nowMs`; 0 if it is the same clock. */
  readonly clockToleranceMs: number;
  readonly retention: Retention;
  /** Returns up to `max` (1 to 1,000), roughly in the order of sending. They can still be received. Throws `QueueError`. */
  browse(max: number): Promise<readonly DeadLetter[]>;
}

/** How long requests may wait in a queue. */
export interface Retention {
  /** Counted from when they first entered the queue: putting them back into it does not prolong it. */
  readonly ms: number;
  /** Whether the queue itself counts the requests of messages that it removes because of their age. */
  readonly counted: boolean;
  /** The clock of the queue in milliseconds since 1970. It does not follow the clock of this machine if that is set. */
  nowMs(): number;
}

/** Dead letters that can be counted; if the queue knows their requests, these are counted too. */
export interface CountedDeadLetters extends BrowsableQueue {
  depth(): Depth | Promise<Depth>;
}

interface Depth {
  readonly messages: number;
  readonly requests?: number;
}

/** Where packs enter a queue for the first time. */
export interface QueueEntrance extends QueueSender {
  /** Whether the queue has more than half of what it may have. A queue without a limit has no such method. Throws `QueueError`. */
  isHalfFull?(): boolean;
}

/** An open queue with its dead letters. */
export interface OpenQueue {
  readonly queue: BrowsableQueue;
  /**
   * Sends packs that enter the queue for the first time. Throws `FULL` if the queue has as much as it may have; `queue.send` then
   * still stores what is put back, because there would be no other place for it.
   */
  readonly entrance: QueueEntrance;
  readonly deadLetters: BrowsableQueue;
  /** Throws `QueueError`. */
  backlog(): Promise<QueueBacklog>;
  close(): void;
}

/** What is in a queue and in its dead letters, including delayed messages and messages in flight. */
export interface QueueBacklog {
  /** For SQS an estimate, which may lag by a minute. */
  readonly messages: number;
  /** Undefined for SQS, which cannot count requests. */
  readonly requests?: number;
  /** Requests that the queue's retention has removed. Undefined for SQS, which does not report them. */
  readonly expiredRequests?: number;
  readonly deadMessages: number;
  /** Undefined if the dead letters are in SQS. */
  readonly deadRequests?: number;
  /** Requests in dead letters that retention has removed. Undefined for SQS, which does not report them. */
  readonly expiredDeadRequests?: number;
  /** What the queue and its dead letters occupy on disk, and the most that they may. Undefined for SQS. */
  readonly bytes?: number;
  readonly maxBytes?: number;
}

/** What is in a queue, visible or not. */
export interface QueueDepth {
  readonly messages: number;
  readonly requests: number;
}

/** `FULL`: the queue takes nothing more until some of its messages are done. */
export type QueueErrorCode = "TOO_BIG" | "FULL" | "UNAVAILABLE" | "DENIED" | "BAD_ARGUMENT";

export class QueueError extends Error {
  readonly code: QueueErrorCode;

  constructor(code: QueueErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "QueueError";
    this.code = code;
  }
}

/** The limit of SQS for a message with its attributes; every queue here applies it. */
export const maxMessageBytes = 1_048_576;

/**
 * What a message must leave free when its pack first enters a queue: a reason (`maxReasonBytes`) and all other marks are added
 * to it later, and it must still be possible to make it a dead letter, to put it back or to move it.
 */
export const reservedBytes = 4_096;

/** How long requests may wait in a queue in SQS. Survives a pause over a long weekend. */
export const sqsKeepMs = 604_800_000;

/** The longest delay of a message. */
export const maxDelayMs = 900_000;
