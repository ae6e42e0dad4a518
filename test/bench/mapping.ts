import type { Hono } from "hono";
import type { Invocation } from "../../functions/batch.ts";
import { type SqsBatchResponse, toSqsEvent } from "../../functions/sqs-event.ts";
import type { Delivery, QueueReceiver } from "../../relay/queue/port.ts";

export interface MappingOptions {
  readonly queue: QueueReceiver;
  readonly app: Hono<{ Bindings: Invocation }>;
  /** The number of messages in an invocation. */
  readonly batch: number;
  /** The number of messages, and of functions that handle them at once. */
  readonly messages: number;
  readonly functions: number;
}

const visibilityMs = 600_000;

/** Imitates Lambda's event source mapping until all messages are handled. Rejects if one fails. */
export async function runMapping(options: MappingOptions): Promise<void> {
  let left = options.messages;
  const run = async (): Promise<void> => {
    while (left > 0) {
      const max = Math.min(options.batch, left);
      left -= max;
      const deliveries: Delivery[] = [];
      // A receive may return fewer messages than there are; a mapping collects them in its window.
      while (deliveries.length < max) deliveries.push(...(await receive(options.queue, max - deliveries.length)));
      await invoke(options, deliveries);
    }
  };
  await Promise.all(Array.from({ length: options.functions }, run));
}

function receive(queue: QueueReceiver, max: number): Promise<readonly Delivery[]> {
  return queue.receive({ max, waitMs: 1_000, visibilityMs, signal: new AbortController().signal });
}

async function invoke({ app, queue }: MappingOptions, deliveries: readonly Delivery[]): Promise<void> {
  const body = JSON.stringify(toSqsEvent(deliveries));
  const response = await app.request("/", { method: "POST", body }, { patient: false });
  const { batchItemFailures } = (await response.json()) as SqsBatchResponse;
  if (batchItemFailures.length > 0) throw new Error(`${batchItemFailures.length} packs failed`);
  await queue.delete(deliveries.map(({ receipt }) => receipt));
}
