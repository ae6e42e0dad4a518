import type { QueueReceiver } from "../relay/queue/port.ts";

// SQS bills each call, and SQLite writes each transaction: messages that are done within 5 ms are deleted in one call.
const gatherMs = 5;

/** Deletes messages that are done, several in one call. */
export class BatchedDeletes {
  readonly #queue: QueueReceiver;
  #receipts: string[] = [];
  #next: Promise<void> | undefined;

  constructor(queue: QueueReceiver) {
    this.#queue = queue;
  }

  /** Resolves when the messages are deleted. Rejects with `QueueError`, as do all deletes that share the call. */
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
