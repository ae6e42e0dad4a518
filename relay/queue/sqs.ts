import {
  ChangeMessageVisibilityBatchCommand,
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  type SendMessageBatchRequestEntry,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import { findMessageMistake } from "./message-mistake.ts";
import { deadLetterUrl } from "./names.ts";
import {
  type BrowsableQueue,
  type CountedDeadLetters,
  type DeadLetter,
  type Delivery,
  maxMessageBytes,
  type OpenQueue,
  type OutgoingMessage,
  QueueError,
  type ReceiveOptions,
  type Retention,
  sqsKeepMs,
} from "./port.ts";
import { leaseSqsClient } from "./sqs-client.ts";
import { isOutage, isStaleReceipt, type SqsCall, toEntryError, toQueueError } from "./sqs-error.ts";
import {
  attributeBytes,
  attributeName,
  fillBatches,
  maxEntries,
  toDelivery,
  toEntry,
  toSeconds,
} from "./sqs-message.ts";

export interface SqsQueueOptions {
  readonly url: string;
  /** How long a call may take, including retries; a long poll may take its wait in addition. Default 10 s. */
  readonly callTimeoutMs?: number;
}

type FailedEntry = Parameters<typeof toEntryError>[0];

interface ReceiptEntry {
  readonly Id: string;
  readonly ReceiptHandle: string;
}

const maxPollSeconds = 20;
const depthAttributes = [
  "ApproximateNumberOfMessages",
  "ApproximateNumberOfMessagesNotVisible",
  "ApproximateNumberOfMessagesDelayed",
] as const;

// A browsed message is hidden for this long, unless it is shown again earlier.
const browseVisibilityMs = 30_000;
// Long polling, in which SQS asks all its servers. Without a wait it asks only some of them and may find nothing.
const browseWaitMs = 1_000;

/**
 * Opens an SQS queue. Its dead letters are in the SQS queue of the same name with `-dlq`, unless `deadLetters` is given.
 * Makes no call before the first use.
 */
export function openSqsQueue(
  url: string,
  deadLetters: CountedDeadLetters = new SqsQueue({ url: deadLetterUrl(url) }),
): OpenQueue {
  const queue = new SqsQueue({ url });
  return {
    queue,
    entrance: queue,
    deadLetters,
    async backlog() {
      const [{ messages }, dead] = await Promise.all([queue.depth(), deadLetters.depth()]);
      return {
        messages,
        deadMessages: dead.messages,
        ...(dead.requests !== undefined && { deadRequests: dead.requests }),
      };
    },
    close() {
      queue.close();
      if (deadLetters instanceof SqsQueue) deadLetters.close();
    },
  };
}

/**
 * A standard queue of SQS. The pack is a Binary attribute of the message; the body is its summary. Delays, visibilities and
 * waits are rounded up to whole seconds. Credentials come from the usual places of the AWS SDK: environment, profile, role.
 * Standard queues duplicate and reorder messages, and a call that timed out may still have been executed.
 */
export class SqsQueue implements BrowsableQueue {
  readonly maxMessageBytes = maxMessageBytes - attributeBytes;
  readonly clockToleranceMs = 5_000;
  readonly retention: Retention;
  readonly #url: string;
  readonly #client: SQSClient;
  readonly #release: () => void;
  readonly #callTimeoutMs: number;

  constructor({ url, callTimeoutMs = 10_000 }: SqsQueueOptions) {
    this.#url = url;
    this.#callTimeoutMs = callTimeoutMs;
    const { client, clock, release } = leaseSqsClient(new URL(url));
    this.#client = client;
    this.#release = release;
    this.retention = { ms: sqsKeepMs, counted: false, nowMs: () => clock.nowMs() };
  }

  /**
   * Returns one entry per message; never throws. If a batch fails because the queue cannot be reached, the batches behind it
   * are not tried.
   */
  async send(messages: readonly OutgoingMessage[]): Promise<readonly (QueueError | undefined)[]> {
    const errors = messages.map((message) => findMessageMistake(message, this.maxMessageBytes));
    const entries = messages.map(toEntry).filter((_, i) => errors[i] === undefined);
    let outage: QueueError | undefined;
    for (const batch of fillBatches(entries)) {
      const refused = outage ? allOf(batch, outage) : await this.#sendBatch(batch);
      for (const [id, error] of refused) {
        errors[Number(id)] = error;
        if (refused.size === batch.length && isOutage(error)) outage = error;
      }
    }
    return errors;
  }

  /** Aborting the signal ends the call at once. Messages that SQS delivered before stay hidden until their visibility ends. */
  async receive({ max, waitMs, visibilityMs, signal }: ReceiveOptions): Promise<readonly Delivery[]> {
    const endMs = performance.now() + waitMs;
    while (!signal.aborted) {
      const waitSeconds = Math.min(maxPollSeconds, toSeconds(Math.max(0, endMs - performance.now())));
      const command = new ReceiveMessageCommand({
        QueueUrl: this.#url,
        MaxNumberOfMessages: max,
        WaitTimeSeconds: waitSeconds,
        VisibilityTimeout: toSeconds(visibilityMs),
        MessageSystemAttributeNames: ["ApproximateReceiveCount", "SentTimestamp"],
        MessageAttributeNames: [attributeName],
      });
      const messages = await this.#call(
        "ReceiveMessage",
        this.#callTimeoutMs + waitSeconds * 1_000,
        async (deadline) => {
          const abortSignal = AbortSignal.any([signal, deadline]);
          try {
            return (await this.#client.send(command, { abortSignal })).Messages ?? [];
          } catch (error) {
            if (signal.aborted) return [];
            throw error;
          }
        },
      );
      if (messages.length > 0) return messages.map(toDelivery);
      if (performance.now() >= endMs) break;
    }
    return [];
  }

  async delete(receipts: readonly string[]): Promise<void> {
    await this.#eachTen(receipts, "DeleteMessage", (entries, abortSignal) => {
      const command = new DeleteMessageBatchCommand({ QueueUrl: this.#url, Entries: entries });
      return this.#client.send(command, { abortSignal });
    });
  }

  async extend(receipt: string, visibilityMs: number): Promise<void> {
    const command = new ChangeMessageVisibilityCommand({
      QueueUrl: this.#url,
      ReceiptHandle: receipt,
      VisibilityTimeout: toSeconds(visibilityMs),
    });
    try {
      await this.#call("ChangeMessageVisibility", this.#callTimeoutMs, (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
    } catch (error) {
      if (!isStaleReceipt((error as QueueError).cause)) throw error;
    }
  }

  /** Receives the messages and shows them again at once. Each call raises their receive count. */
  async browse(max: number): Promise<readonly DeadLetter[]> {
    const seen = new Map<string, Delivery>();
    try {
      for (let before = -1; seen.size < max && seen.size > before; ) {
        before = seen.size;
        const deliveries = await this.receive({
          max: Math.min(maxEntries, max - seen.size),
          waitMs: browseWaitMs,
          visibilityMs: browseVisibilityMs,
          signal: new AbortController().signal,
        });
        for (const delivery of deliveries) seen.set(delivery.messageId, delivery);
      }
    } finally {
      await this.#show(Array.from(seen.values(), ({ receipt }) => receipt));
    }
    return Array.from(seen.values(), ({ messageId, body, pack, sentAtMs }) => ({
      messageId,
      body,
      pack,
      sentAtMs,
    })).sort((a, b) => a.sentAtMs - b.sentAtMs);
  }

  /** The messages that are visible, delayed or in flight, as SQS estimates them. The estimate may lag by a minute. */
  async depth(): Promise<{ readonly messages: number; readonly requests?: number }> {
    const command = new GetQueueAttributesCommand({ QueueUrl: this.#url, AttributeNames: [...depthAttributes] });
    const { Attributes = {} } = await this.#call("GetQueueAttributes", this.#callTimeoutMs, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
    return { messages: depthAttributes.reduce((sum, name) => sum + Number(Attributes[name] ?? 0), 0) };
  }

  close(): void {
    this.#release();
  }

  async #show(receipts: readonly string[]): Promise<void> {
    await this.#eachTen(receipts, "ChangeMessageVisibility", (entries, abortSignal) => {
      const shown = entries.map((entry) => ({ ...entry, VisibilityTimeout: 0 }));
      const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl: this.#url, Entries: shown });
      return this.#client.send(command, { abortSignal });
    });
  }

  /** Runs `work` on the receipts, ten per call. Ignores receipts that are no longer the newest of their message. */
  async #eachTen(
    receipts: readonly string[],
    action: string,
    work: (
      entries: ReceiptEntry[],
      deadline: AbortSignal,
    ) => Promise<{ readonly Failed?: readonly FailedEntry[] | undefined }>,
  ): Promise<void> {
    for (let start = 0; start < receipts.length; start += maxEntries) {
      const entries = receipts
        .slice(start, start + maxEntries)
        .map((ReceiptHandle, i) => ({ Id: `${i}`, ReceiptHandle }));
      const { Failed = [] } = await this.#call(action, this.#callTimeoutMs, (deadline) => work(entries, deadline));
      const failed = Failed.find(({ Code, Message }) => !isStaleReceipt({ name: Code, message: Message }));
      if (failed) throw toEntryError(failed, this.#callOf(action));
    }
  }

  /** Sends up to ten messages; returns the errors of those that were not stored, by their ids. */
  async #sendBatch(batch: readonly SendMessageBatchRequestEntry[]): Promise<ReadonlyMap<string, QueueError>> {
    const command = new SendMessageBatchCommand({ QueueUrl: this.#url, Entries: [...batch] });
    try {
      const { Successful = [], Failed = [] } = await this.#call("SendMessage", this.#callTimeoutMs, (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      const taken = new Set(Successful.map(({ Id }) => Id));
      const failed = new Map(Failed.map((entry) => [entry.Id, entry]));
      // An entry that the answer does not mention counts as not stored.
      const refused = batch.filter(({ Id }) => !taken.has(Id));
      return new Map(refused.map(({ Id }) => [Id as string, this.#toError(failed.get(Id))]));
    } catch (error) {
      // One message may cause the rejection of all, and a queue may be configured for smaller messages than SQS allows.
      if (isOutage(error as QueueError) || batch.length === 1) return allOf(batch, error as QueueError);
      const middle = batch.length >> 1;
      const halves = [await this.#sendBatch(batch.slice(0, middle)), await this.#sendBatch(batch.slice(middle))];
      return new Map(halves.flatMap((half) => [...half]));
    }
  }

  #toError(entry: FailedEntry | undefined): QueueError {
    if (entry) return toEntryError(entry, this.#callOf("SendMessage"));
    return new QueueError("UNAVAILABLE", `${new URL(this.#url).host} did not confirm that it stored the message`);
  }

  // The SDK's own request timeout covers only the headers: a body that stops half-way would block the call forever.
  async #call<T>(action: string, withinMs: number, work: (deadline: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = AbortSignal.timeout(withinMs);
    try {
      return await work(deadline);
    } catch (error) {
      const late = new Error(`no answer within ${withinMs} ms`, { cause: error });
      throw toQueueError(deadline.aborted ? Object.assign(late, { code: "ETIMEDOUT" }) : error, this.#callOf(action));
    }
  }

  #callOf(action: string): SqsCall {
    return { action, queueUrl: this.#url };
  }
}

function allOf(batch: readonly SendMessageBatchRequestEntry[], error: QueueError): ReadonlyMap<string, QueueError> {
  return new Map(batch.map(({ Id }) => [Id as string, error]));
}
