import { setTimeout as sleep } from "node:timers/promises";
import type { Hono } from "hono";
import { type Logger, Throttle } from "../relay/log.ts";
import type { Delivery, QueueReceiver } from "../relay/queue/port.ts";
import { Semaphore } from "../relay/semaphore.ts";
import type { Invocation } from "./batch.ts";
import { retryDelayMs } from "./retry-delay.ts";
import { type SqsBatchResponse, toSqsEvent } from "./sqs-event.ts";

export interface PollerOptions {
  /** For the log. */
  readonly name: string;
  readonly queue: QueueReceiver;
  readonly app: Hono<{ Bindings: Invocation }>;
  /** Messages in one invocation, 10 at most. */
  readonly batch: number;
  /** Invocations at once. */
  readonly inFlight: number;
  /** Messages that mostly wait, by their body: with `batch` 1, up to 64 of them are under way beside the others. */
  readonly waits?: (body: string) => boolean;
  readonly visibilityMs: number;
  readonly log: Logger;
}

const maxWaiting = 64;
const longPollMs = 20_000;
const pauseAfterErrorMs = 1_000;

/** Does for one function what Lambda's event source mapping does: polls its queue, invokes it, deletes what it has done. */
export class Poller {
  readonly #options: PollerOptions;
  readonly #stopping = new AbortController();
  readonly #errorLog = new Throttle();
  readonly #waiting = new Semaphore(maxWaiting);
  readonly #beside = new Set<Promise<void>>();
  readonly #loops: Promise<void>[];

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#loops = Array.from({ length: options.inFlight }, () => this.#loop());
  }

  /** Takes no more messages, and resolves when those that are being handled are done or handed back. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#loops);
    await Promise.all(this.#beside);
  }

  async #loop(): Promise<void> {
    const { queue, batch, visibilityMs, waits } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const deliveries = await queue.receive({ max: batch, waitMs: longPollMs, visibilityMs, signal });
        if (deliveries.length === 0) continue;
        if (waits && deliveries.every(({ body }) => waits(body)) && this.#waiting.tryAcquire()) {
          this.#invokeBeside(deliveries);
        } else {
          await this.#invoke(deliveries);
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#complain(error as Error);
        await sleep(pauseAfterErrorMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  #invokeBeside(deliveries: readonly Delivery[]): void {
    const invoked: Promise<void> = this.#invoke(deliveries)
      .catch((error: Error) => {
        if (!this.#stopping.signal.aborted) this.#complain(error);
      })
      .finally(() => {
        this.#waiting.release();
        this.#beside.delete(invoked);
      });
    this.#beside.add(invoked);
  }

  #complain({ message }: Error): void {
    const { name, log } = this.#options;
    this.#errorLog.run(Date.now(), (heldBack) =>
      log.error({ event: "poll-failed", queue: name, reason: message, heldBack }, "trying again"),
    );
  }

  async #invoke(deliveries: readonly Delivery[]): Promise<void> {
    const { queue, app, visibilityMs, name, log } = this.#options;
    const { signal } = this.#stopping;
    const heartbeat = setInterval(() => {
      for (const { receipt } of deliveries) {
        queue.extend(receipt, visibilityMs).catch((error: Error) => {
          log.warn({ event: "extend-failed", queue: name, reason: error.message }, "a pack may be delivered twice");
        });
      }
    }, visibilityMs / 3);
    try {
      const body = JSON.stringify(toSqsEvent(deliveries));
      const response = await app.request("/", { method: "POST", body }, { signal, patient: true });
      if (!response.ok) throw new Error(`the function answered ${response.status}`);
      const { batchItemFailures } = (await response.json()) as SqsBatchResponse;
      const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
      const done = deliveries.filter(({ messageId }) => !failed.has(messageId));
      if (done.length > 0) await queue.delete(done.map(({ receipt }) => receipt));
      for (const { messageId, receipt, receiveCount } of deliveries) {
        if (!failed.has(messageId)) continue;
        // What is handed back because we stop need not wait.
        const hiddenMs = signal.aborted ? 0 : retryDelayMs(receiveCount);
        await queue.extend(receipt, hiddenMs);
      }
    } finally {
      clearInterval(heartbeat);
    }
  }
}
