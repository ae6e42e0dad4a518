import { setTimeout as sleep } from "node:timers/promises";
import type { MessagePort } from "node:worker_threads";
import { sealPack } from "../relay/pack-envelope.ts";
import type { PackSummary } from "../relay/pack-summary.ts";
import { type IngressPlace, openIngress } from "../relay/queue/ingress.ts";
import { type OutgoingMessage, QueueError, type QueueSender } from "../relay/queue/port.ts";
import type { DropReason } from "./ledger.ts";

/** What the worker needs to find its queue. */
export interface WorkerOptions {
  readonly ingress: IngressPlace;
}

export type ToWorker =
  | { readonly kind: "pack"; readonly buffer: ArrayBuffer; readonly bytes: number; readonly summary: PackSummary }
  | { readonly kind: "stop"; readonly withinMs: number };

export type FromWorker =
  /** The pack has been compressed; its buffer comes back. */
  | {
      readonly kind: "sealed";
      readonly contentBytes: number;
      readonly sealedBytes: number;
      readonly buffer: ArrayBuffer;
    }
  | { readonly kind: "shipped"; readonly packs: number; readonly requests: number; readonly sealedBytes: number }
  | {
      readonly kind: "dropped";
      readonly reason: DropReason;
      readonly requests: number;
      readonly sealedBytes: number;
      /** What the queue says. */
      readonly detail?: string;
    }
  | { readonly kind: "queueDown"; readonly message: string }
  | { readonly kind: "queueUp" }
  | { readonly kind: "stopped" };

const maxBatch = 10;
const firstRetryMs = 100;
const maxRetryMs = 5_000;

/**
 * Runs in the worker thread: compresses packs and sends them, again and again until the queue has them. Resolves when it is
 * ready; the port keeps what comes earlier.
 */
export async function runShipperWorker(port: MessagePort, options: WorkerOptions): Promise<void> {
  const ingress = await openIngress(options.ingress);
  const shipping = new Shipping(ingress.queue, (message, transfer) => port.postMessage(message, transfer));
  port.on("message", (message: ToWorker) => {
    if (message.kind === "pack") {
      shipping.add(message);
      return;
    }
    shipping.finish(message.withinMs).then(() => {
      ingress.close();
      port.postMessage({ kind: "stopped" } satisfies FromWorker);
      port.close();
    });
  });
}

type Post = (message: FromWorker, transfer?: ArrayBuffer[]) => void;

class Shipping {
  readonly #queue: QueueSender;
  readonly #post: Post;
  readonly #deadline = new AbortController();
  #waiting: OutgoingMessage[] = [];
  #sending: Promise<void> | undefined;
  #problem: string | undefined;

  constructor(queue: QueueSender, post: Post) {
    this.#queue = queue;
    this.#post = post;
  }

  add({ buffer, bytes, summary }: Extract<ToWorker, { kind: "pack" }>): void {
    const sealed = sealPack(new Uint8Array(buffer, 0, bytes));
    this.#post({ kind: "sealed", contentBytes: bytes, sealedBytes: sealed.length, buffer }, [buffer]);
    this.#waiting.push({ body: JSON.stringify(summary), pack: sealed, requests: summary.count });
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  /** Resolves when everything is sent, or when the time is over: what is left then is counted as given up. */
  async finish(withinMs: number): Promise<void> {
    const timer = setTimeout(() => this.#deadline.abort(), withinMs);
    await this.#sending;
    clearTimeout(timer);
    for (const message of this.#waiting) this.#drop(message, "given up at exit");
    this.#waiting = [];
  }

  async #sendAll(): Promise<void> {
    let retryMs = firstRetryMs;
    while (this.#waiting.length > 0 && !this.#deadline.signal.aborted) {
      const batch = this.#nextBatch();
      const problem = await this.#sendBatch(batch);
      if (problem === undefined) {
        retryMs = firstRetryMs;
        if (this.#problem !== undefined) this.#post({ kind: "queueUp" });
        this.#problem = undefined;
        continue;
      }
      // Also where only the reason is another one: it is what the operator acts upon.
      if (this.#problem !== problem.message) this.#post({ kind: "queueDown", message: problem.message });
      this.#problem = problem.message;
      await sleep(retryMs, undefined, { signal: this.#deadline.signal }).catch(() => {});
      retryMs = Math.min(retryMs * 2, maxRetryMs);
    }
  }

  #nextBatch(): OutgoingMessage[] {
    const batch: OutgoingMessage[] = [];
    let bytes = 0;
    for (const message of this.#waiting) {
      bytes += message.pack.length + message.body.length;
      if (batch.length === maxBatch || (batch.length > 0 && bytes > this.#queue.maxMessageBytes)) break;
      batch.push(message);
    }
    return batch;
  }

  /** Sends the oldest messages; those that have to be tried again stay at the front. Returns why, if there are any. */
  async #sendBatch(batch: readonly OutgoingMessage[]): Promise<QueueError | undefined> {
    let results: readonly (QueueError | undefined)[];
    try {
      results = await this.#queue.send(batch);
    } catch (error) {
      if (error instanceof QueueError) return error;
      throw error;
    }
    const again: OutgoingMessage[] = [];
    let problem: QueueError | undefined;
    const shipped = { packs: 0, requests: 0, sealedBytes: 0 };
    batch.forEach((message, i) => {
      const error = results[i];
      if (error === undefined) {
        shipped.packs++;
        shipped.requests += message.requests;
        shipped.sealedBytes += message.pack.length;
      } else if (error.code === "TOO_BIG") {
        this.#drop(message, "oversize", error.message);
      } else if (error.code === "BAD_ARGUMENT") {
        // The queue would refuse it each time, and what is tried again stands before all others.
        this.#drop(message, "refused by the queue", error.message);
      } else {
        problem = error;
        again.push(message);
      }
    });
    this.#waiting.splice(0, batch.length, ...again);
    this.#post({ kind: "shipped", ...shipped });
    return problem;
  }

  #drop({ requests, pack }: OutgoingMessage, reason: DropReason, detail?: string): void {
    const dropped = { kind: "dropped", reason, requests, sealedBytes: pack.length } as const;
    this.#post(detail === undefined ? dropped : { ...dropped, detail });
  }
}
