/** A pack on its way into a queue. */
export interface OutgoingMessage {
  /** The pack's summary as JSON (see pack-summary.ts). */
  readonly body: string;
  readonly pack: Uint8Array;
  /** Requests in the pack, for queues that can count what waits in them. */
  readonly requests: number;
  /** Hidden for so long, 15 minutes at most. */
  readonly delayMs?: number;
}

/** A pack as a queue hands it out: to be deleted before its visibility timeout ends, or it comes again. */
export interface Delivery {
  /** The same in every delivery of this message. */
  readonly messageId: string;
  /** Names this one delivery. */
  readonly receipt: string;
  readonly body: string;
  readonly pack: Uint8Array;
  /** How often it has been handed out, this time included. */
  readonly receiveCount: number;
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

/** Where packs are put. */
export interface QueueSender {
  /** Largest message: body and pack together, in bytes. */
  readonly maxMessageBytes: number;
  /** Stores the messages durably. One entry a message: undefined, or why this one was not taken. Throws `QueueError`. */
  send(messages: readonly OutgoingMessage[]): Promise<readonly (QueueError | undefined)[]>;
}

/** Where packs are taken from, at least once each. */
export interface QueueReceiver {
  /** Up to `max` messages, none when `waitMs` passed or the signal was raised. Throws `QueueError`. */
  receive(options: ReceiveOptions): Promise<readonly Delivery[]>;
  /** Removes what was delivered. A receipt that is no longer the newest of its message is ignored. */
  delete(receipts: readonly string[]): Promise<void>;
  /** Hides a delivery for so long from now; 0 shows it at once. */
  extend(receipt: string, visibilityMs: number): Promise<void>;
}

/** A message that is kept for a person to look at. */
export interface DeadLetter {
  readonly messageId: string;
  readonly body: string;
  readonly pack: Uint8Array;
  readonly sentAtMs: number;
  /** Why it was given up; undefined where its body says so, or where it was put there by hand. */
  readonly reason?: string;
}

/** A queue's dead letters. */
export interface DeadLetterQueue extends QueueSender, QueueReceiver {
  /** Up to `max` (1 to 1,000), about in the order they were sent. They can be received as before. Throws `QueueError`. */
  browse(max: number): Promise<readonly DeadLetter[]>;
}

/** Dead letters of which is known how many they are, and, where the queue can count them, how many requests. */
export interface CountedDeadLetters extends DeadLetterQueue {
  depth(): Depth | Promise<Depth>;
}

interface Depth {
  readonly messages: number;
  readonly requests?: number;
}

/** A queue with its dead letters, opened. */
export interface OpenQueue {
  readonly queue: QueueSender & QueueReceiver;
  readonly deadLetters: DeadLetterQueue;
  /** Throws `QueueError`. */
  backlog(): Promise<QueueBacklog>;
  close(): void;
}

/** What waits in a queue and among its dead letters: delayed and in flight included. */
export interface QueueBacklog {
  /** In SQS an estimate, which may be behind by a minute. */
  readonly messages: number;
  /** Undefined in SQS, which knows nothing of requests. */
  readonly requests?: number;
  /** Requests that the queue's retention has removed. Undefined in SQS, which tells nobody. */
  readonly expiredRequests?: number;
  readonly deadMessages: number;
  /** Undefined in SQS. */
  readonly deadRequests?: number;
}

/** What waits in a queue, visible or not. */
export interface QueueDepth {
  readonly messages: number;
  readonly requests: number;
}

export type QueueErrorCode = "TOO_BIG" | "UNAVAILABLE" | "DENIED" | "BAD_ARGUMENT";

export class QueueError extends Error {
  readonly code: QueueErrorCode;

  constructor(code: QueueErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "QueueError";
    this.code = code;
  }
}

/** What SQS allows for a message with its attributes, and what every queue here keeps to. */
export const maxMessageBytes = 1_048_576;

/** Longest delay of a message. */
export const maxDelayMs = 900_000;
