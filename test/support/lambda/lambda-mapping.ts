import type { SqsBatchResponse, SqsEvent } from "../../../functions/sqs-event.ts";
import { toSqsEvent } from "../../../functions/sqs-event.ts";
import type { Delivery } from "../../../relay/queue/port.ts";
import { SqsQueue } from "../../../relay/queue/sqs.ts";
import type { LambdaProcess } from "./lambda-process.ts";

export interface MappingOptions {
  readonly queueUrl: string;
  /** Called where there is no process, or the last one has ended. */
  readonly start: () => Promise<LambdaProcess>;
  readonly batch: number;
  /** How long it waits for a batch to fill after the first message; not at all by default. */
  readonly windowMs?: number;
  /** The function's time. */
  readonly timeoutMs: number;
  /** The queue's visibility: when the messages of an invocation come again that never answered. */
  readonly visibilityMs: number;
}

/** The event that Lambda makes of these deliveries. */
export function toLambdaEvent(deliveries: readonly Delivery[]): SqsEvent {
  const { Records: records } = toSqsEvent(deliveries);
  return { Records: records.map((record) => ({ ...record, eventSource: "aws:sqs", awsRegion: "us-east-1" })) };
}

/** Stands in for Lambda's event source mapping, with one process at a time: takes batches, invokes, deletes what is done. */
export class LambdaMapping {
  /** Of the newest process. */
  process: LambdaProcess | undefined;
  /** Why invocations did not answer. */
  readonly failures: string[] = [];
  invocations = 0;
  /** How often a message was received at most. */
  mostReceives = 0;
  /** Whether an invocation is under way. */
  busy = false;
  readonly #options: MappingOptions;
  readonly #queue: SqsQueue;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;

  constructor(options: MappingOptions) {
    this.#options = options;
    this.#queue = new SqsQueue({ url: options.queueUrl });
    this.#loop = this.#run();
  }

  /** Waits for the invocation that is under way; ends the process. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.process?.kill();
    this.#queue.close();
  }

  async #run(): Promise<void> {
    const { batch, windowMs = 0, visibilityMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const deliveries = [...(await this.#queue.receive({ max: batch, waitMs: 1_000, visibilityMs, signal }))];
      if (deliveries.length === 0) continue;
      const endMs = Date.now() + windowMs;
      while (deliveries.length < batch && Date.now() < endMs && !signal.aborted) {
        const max = batch - deliveries.length;
        deliveries.push(...(await this.#queue.receive({ max, waitMs: 200, visibilityMs, signal })));
      }
      await this.#invoke(deliveries);
    }
  }

  async #invoke(deliveries: readonly Delivery[]): Promise<void> {
    this.mostReceives = Math.max(this.mostReceives, ...deliveries.map(({ receiveCount }) => receiveCount));
    this.invocations++;
    try {
      if (!this.process || this.process.ended) this.process = await this.#options.start();
      this.busy = true;
      const answer = await this.process.invoke(toLambdaEvent(deliveries), this.#options.timeoutMs);
      const { batchItemFailures } = answer as SqsBatchResponse;
      const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
      const done = deliveries.filter(({ messageId }) => !failed.has(messageId));
      await this.#queue.delete(done.map(({ receipt }) => receipt));
    } catch (error) {
      // As with Lambda: nothing is deleted, and everything comes again when its visibility is over.
      this.failures.push((error as Error).message);
    } finally {
      this.busy = false;
    }
  }
}
