import type { BrowsableQueue, DeadLetter, Delivery, OpenQueue, ReceiveOptions, Retention } from "./port.ts";

/**
 * All that is left in the queue of a removed target: its dead letters, and then its messages, which nobody else receives. Cannot
 * be sent to.
 */
export class LeftMessages implements Omit<BrowsableQueue, "send" | "maxMessageBytes"> {
  readonly #lanes: readonly BrowsableQueue[];
  // A receive waits at an empty queue: once per object is enough, because nothing is added.
  #firstLane = 0;

  constructor({ deadLetters, queue }: Pick<OpenQueue, "queue" | "deadLetters">) {
    this.#lanes = [deadLetters, queue];
  }

  /** Its two lanes have the same clock. */
  get retention(): Retention {
    return this.#lanes[0].retention;
  }

  get clockToleranceMs(): number {
    return Math.max(...this.#lanes.map(({ clockToleranceMs }) => clockToleranceMs));
  }

  async receive(options: ReceiveOptions): Promise<readonly Delivery[]> {
    for (const [lane, messages] of this.#lanes.entries()) {
      if (lane < this.#firstLane) continue;
      const deliveries = await messages.receive(options);
      if (deliveries.length > 0) {
        this.#firstLane = lane;
        return deliveries.map((one) => ({ ...one, receipt: `${lane}${one.receipt}` }));
      }
    }
    return [];
  }

  async delete(receipts: readonly string[]): Promise<void> {
    for (const [lane, messages] of this.#lanes.entries()) {
      const own = receipts.filter((receipt) => receipt.startsWith(`${lane}`));
      if (own.length > 0) await messages.delete(own.map((receipt) => receipt.slice(1)));
    }
  }

  async extend(receipt: string, visibilityMs: number): Promise<void> {
    await this.#lanes[Number(receipt[0])].extend(receipt.slice(1), visibilityMs);
  }

  /** Dead letters first, then waiting messages; the reason of these is that their target was removed. */
  async browse(max: number): Promise<readonly DeadLetter[]> {
    const [letters, queue] = this.#lanes;
    const dead = await letters.browse(max);
    if (dead.length === max) return dead;
    const waiting = await queue.browse(max - dead.length);
    return [...dead, ...waiting.map((message) => ({ ...message, reason: waitingReason }))];
  }
}

const waitingReason = "waits; its target is no longer in the configuration";
