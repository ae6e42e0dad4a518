import type { SqsBatchResponse, SqsEvent } from "../../../functions/sqs-event.ts";
import { toSqsEvent } from "../../../functions/sqs-event.ts";
import type { Delivery } from "../../../relay/queue/port.ts";
import { SqsQueue } from "../../../relay/queue/sqs.ts";
import type { LambdaProcess } from "./lambda-process.ts";

export interface MappingOptions {
  readonly queueUrl: string;
  /** Called if there is no process yet or the last one has ended. */
  readonly start: () => Promise<LambdaProcess>;
  readonly batch: number;
  /** How long the mapping waits for a batch to fill after its first message; 0 by default. */
  readonly windowMs?: number;
  /** The function's timeout. */
  readonly timeoutMs: number;
  /** The queue's visibility timeout: after this time the messages of an invocation without an answer are delivered again. */
  readonly visibilityMs: number;
}

/** The event that Lambda creates from these deliveries. */
export function toLambdaEvent(deliveries: readonly Delivery[]): SqsEvent {
  const { Records: records } = toSqsEvent(deliveries);
  return { Records: records.map((record) => ({ ...record, eventSource: "aws:sqs", awsRegion: "us-east-1" })) };
}

/** Imitates Lambda's event source mapping with one process at a time: receives batches, invokes, deletes handled messages. */
export class LambdaMapping {
  /** The newest process. */
  process: LambdaProcess | undefined;
  /** The errors of invocations without an answer. */
  readonly failures: string[] = [];
  invocations = 0;
  /** The largest receive count of a message. */
  mostReceives = 0;
  /** True while an invocation is in progress. */
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

  /** Waits for the current invocation, then ends the process. */
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
      // As in Lambda: nothing is deleted, and all messages are delivered again after their visibility timeout.
      this.failures.push((error as Error).message);
    } finally {
      this.busy = false;
    }
  }
}
