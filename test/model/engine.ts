import { startFauxqs } from "fauxqs";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import type { OpenQueue, QueueReceiver } from "../../relay/queue/port.ts";
import { openSqsQueue } from "../../relay/queue/sqs.ts";
import { DynamoDbState } from "../../relay/state/dynamodb/state.ts";
import { EmbeddedState } from "../../relay/state/embedded/state.ts";
import type { State } from "../../relay/state/port.ts";
import { startDynamoDb } from "../support/aws/dynamodb.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";

/** The stores that all processes of a model share, with a time that the model controls. */
export interface Engine {
  readonly ingress: OpenQueue;
  readonly queue: OpenQueue;
  /** Whether its counts are exact at any moment. */
  readonly exact: boolean;
  /** Milliseconds since 1970, by the clock of the queues. */
  now(): number;
  /** Time passes: messages that are hidden from receivers become visible. */
  pass(): Promise<void>;
  /** The state as a new process opens it. */
  openState(): State;
  close(): Promise<void>;
}

export function embeddedEngine(): Engine {
  const directory = temporaryDirectory();
  let nowMs = Date.UTC(2026, 8, 1);
  const now = () => nowMs;
  const ingress = EmbeddedQueue.open({ directory, name: "ingress", now });
  const queue = EmbeddedQueue.open({ directory, name: "target-staging", now });
  const state = EmbeddedState.open(directory, now);
  return {
    ingress,
    queue,
    exact: true,
    now: () => ++nowMs,
    async pass() {
      nowMs += 61_000;
    },
    openState: () => state,
    async close() {
      ingress.close();
      queue.close();
      state.close();
    },
  };
}

/** Emulators of SQS and DynamoDB over HTTP. Instead of waiting for a visibility timeout, the model ends it. */
export async function awsEngine(): Promise<Engine> {
  const sqs = await startFauxqs({ port: 0, logger: false });
  const table = await startDynamoDb();
  const open = (name: string) => {
    sqs.createQueue(name);
    sqs.createQueue(`${name}-dlq`);
    return openSqsQueue(`http://127.0.0.1:${sqs.port}/000000000000/${name}`);
  };
  const [ingress, queue] = [open("ingress"), open("target-staging")];
  const states: State[] = [];
  const hidden = new Map<string, QueueReceiver>();
  return {
    ingress: { ...ingress, queue: watched(ingress.queue, hidden) },
    queue: { ...queue, queue: watched(queue.queue, hidden), deadLetters: watched(queue.deadLetters, hidden) },
    exact: false,
    now: Date.now,
    async pass() {
      await Promise.all(Array.from(hidden, ([receipt, of]) => of.extend(receipt, 0)));
      hidden.clear();
    },
    openState() {
      const state = DynamoDbState.open({ ...table, tallyEveryMs: 1, roundTimeoutMs: 15_000, callTimeoutMs: 15_000 });
      states.push(state);
      return state;
    },
    async close() {
      await Promise.all(states.map((state) => state.close()));
      ingress.close();
      queue.close();
      await sqs.stop();
      await table.stop();
    },
  };
}

/** Sends without a delay, and notes what is hidden, even if the process that received it crashes before it knows. */
function watched<Queue extends OpenQueue["queue"] | OpenQueue["deadLetters"]>(
  queue: Queue,
  hidden: Map<string, QueueReceiver>,
): Queue {
  const own: Pick<OpenQueue["queue"], "send" | "receive" | "delete"> = {
    send: (messages) => queue.send(messages.map(({ delayMs: _, ...message }) => message)),
    async receive(options) {
      const deliveries = await queue.receive(options);
      for (const { receipt } of deliveries) hidden.set(receipt, queue);
      return deliveries;
    },
    async delete(receipts) {
      await queue.delete(receipts);
      for (const receipt of receipts) hidden.delete(receipt);
    },
  };
  return new Proxy(queue, {
    get: (whole, key) => {
      if (key in own) return own[key as keyof typeof own];
      const value = Reflect.get(whole, key);
      return typeof value === "function" ? value.bind(whole) : value;
    },
  });
}
