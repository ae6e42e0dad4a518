import type { QueueReceiver } from "../relay/queue/port.ts";

// SQS bills each call, and SQLite writes each transaction: what ends within a moment of each other is deleted together.
const gatherMs = 5;

/** Deletes what is done, several messages in one call. */
export class BatchedDeletes {
  readonly #queue: QueueReceiver;
  #receipts: string[] = [];
  #next: Promise<void> | undefined;

  constructor(queue: QueueReceiver) {
    this.#queue = queue;
  }

  /** Resolves when they are deleted. Throws `QueueError`, for all that were in the same call. */
  delete(receipts: readonly string[]): Promise<void> {
    this.#receipts.push(...receipts);
    this.#next ??= new Promise((resolve) => setTimeout(resolve, gatherMs)).then(() => {
      const gathered = this.#receipts;
      this.#receipts = [];
      this.#next = undefined;
      return this.#queue.delete(gathered);
    });
    return this.#next;
  }
}
