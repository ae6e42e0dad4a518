import { setTimeout as sleep } from "node:timers/promises";
import type { Hono } from "hono";
import { Semaphore } from "../../relay/concurrency/semaphore.ts";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import type { Delivery, QueueReceiver } from "../../relay/queue/port.ts";
import type { Invocation } from "../batch.ts";
import { BatchedDeletes } from "../batched-deletes.ts";
import { retryDelayMs } from "../retry-delay.ts";
import { type SqsBatchResponse, toSqsEvent } from "../sqs-event.ts";

export interface PollerOptions {
  /** For the log. */
  readonly name: string;
  readonly queue: QueueReceiver;
  readonly app: Hono<{ Bindings: Invocation }>;
  /** Messages in one invocation, 10 at most. */
  readonly batch: number;
  /** Invocations at once. */
  readonly inFlight: number;
  /**
   * Whether a message mostly waits, judged by its body. With `batch` 1, up to 64 such messages are handled in addition to
   * `inFlight`.
   */
  readonly waits?: (body: string) => boolean;
  readonly visibilityMs: number;
  readonly log: Logger;
}

const maxWaiting = 64;
const longPollMs = 20_000;
// SQS delivers at most 10 messages in a call.
const maxReceiveMessages = 10;
const pauseAfterErrorMs = 1_000;
// SQS makes a message visible again after 12 hours in all, however often its visibility timeout was extended. A pack for a
// target that is held is handed back before that.
const longestWorkMs = 6 * 3_600_000;

/** Does for one function what Lambda's event source mapping does: polls its queue, invokes it, deletes messages that are done. */
export class Poller {
  readonly #options: PollerOptions;
  readonly #deletes: BatchedDeletes;
  readonly #stopping = new AbortController();
  readonly #errorLog = new Throttle();
  readonly #outage: Outage;
  readonly #invocations = new Set<Promise<void>>();
  readonly #waiting = new Semaphore(maxWaiting);
  readonly #mostlyWaiting = new Set<Promise<void>>();
  readonly #ended: Promise<void>;

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#outage = new Outage(options.log, {
      down: [
        "queue-down",
        "the host cannot receive from a queue: it retries each second, and the requests in the queue wait",
      ],
      up: ["queue-up", "the host receives from the queue again"],
      about: { queue: options.name },
    });
    this.#deletes = new BatchedDeletes(options.queue);
    this.#ended = this.#run();
  }

  /** Receives no more messages; resolves when those in progress are done or handed back. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { inFlight } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      // Receives several messages in a call, because each call costs money: waits until half of the places are free.
      while (this.#invocations.size > inFlight / 2) await Promise.race(this.#invocations);
      const deliveries = await this.#receive(inFlight - this.#invocations.size);
      this.#start(deliveries);
    }
    await Promise.all([...this.#invocations, ...this.#mostlyWaiting]);
  }

  /** Receives messages for up to `places` invocations; none if the queue fails, after a pause. */
  async #receive(places: number): Promise<readonly Delivery[]> {
    const { queue, batch, visibilityMs } = this.#options;
    const { signal } = this.#stopping;
    const max = Math.min(maxReceiveMessages, places * batch);
    try {
      const deliveries = await queue.receive({ max, waitMs: longPollMs, visibilityMs, signal });
      this.#outage.recover();
      return deliveries;
    } catch (error) {
      if (!signal.aborted) this.#outage.fail((error as Error).message);
      await this.#pause();
      return [];
    }
  }

  /** Starts an invocation for each batch; batches of messages that mostly wait use none of the places. */
  #start(deliveries: readonly Delivery[]): void {
    const { batch, waits } = this.#options;
    for (let at = 0; at < deliveries.length; at += batch) {
      const invoked = deliveries.slice(at, at + batch);
      const mostlyWaits = waits !== undefined && invoked.every(({ body }) => waits(body)) && this.#waiting.tryAcquire();
      const running = mostlyWaits ? this.#mostlyWaiting : this.#invocations;
      const invocation = this.#attempt(() => this.#invoke(invoked)).finally(() => {
        if (mostlyWaits) this.#waiting.release();
        running.delete(invocation);
      });
      running.add(invocation);
    }
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    const { name, log } = this.#options;
    const { signal } = this.#stopping;
    try {
      await work();
    } catch (error) {
      if (signal.aborted) return;
      this.#errorLog.run(performance.now(), (heldBack) =>
        log.error(
          { event: "poll-failed", queue: name, reason: (error as Error).message, heldBack },
          "handling the messages of a queue failed: retrying",
        ),
      );
      await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    await sleep(pauseAfterErrorMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }

  async #invoke(deliveries: readonly Delivery[]): Promise<void> {
    const { queue, app, visibilityMs, name, log } = this.#options;
    const stopping = this.#stopping.signal;
    const ending = new AbortController();
    const end = () => ending.abort();
    stopping.addEventListener("abort", end, { once: true });
    if (stopping.aborted) end();
    const startedAtMs = performance.now();
    const heartbeat = setInterval(() => {
      if (performance.now() - startedAtMs > longestWorkMs) return end();
      for (const { receipt } of deliveries) {
        queue.extend(receipt, visibilityMs).catch((error: Error) => {
          log.warn(
            { event: "extend-failed", queue: name, reason: error.message },
            "the visibility timeout of a pack could not be extended: it may be delivered twice",
          );
        });
      }
    }, visibilityMs / 3);
    try {
      const body = JSON.stringify(toSqsEvent(deliveries));
      const response = await app.request("/", { method: "POST", body }, { signal: ending.signal, patient: true });
      if (!response.ok) throw new Error(`the function answered ${response.status}`);
      const { batchItemFailures } = (await response.json()) as SqsBatchResponse;
      const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
      const done = deliveries.filter(({ messageId }) => !failed.has(messageId));
      if (done.length > 0) await this.#deletes.delete(done.map(({ receipt }) => receipt));
      for (const { messageId, receipt, receiveCount } of deliveries) {
        if (!failed.has(messageId)) continue;
        // A message that is handed back because its invocation must end is visible again at once.
        const hiddenMs = ending.signal.aborted ? 0 : retryDelayMs(receiveCount);
        await queue.extend(receipt, hiddenMs);
      }
    } finally {
      clearInterval(heartbeat);
      stopping.removeEventListener("abort", end);
    }
  }
}
