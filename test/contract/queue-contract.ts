import { describe, expect, it } from "vitest";
import {
  type Delivery,
  maxDelayMs,
  maxMessageBytes,
  type OutgoingMessage,
  type QueueReceiver,
  type QueueSender,
  type ReceiveOptions,
} from "../../relay/queue/port.ts";

/** A queue that nothing has been sent to, with its dead-letter queue. */
export interface OpenedQueue {
  readonly queue: QueueSender & QueueReceiver;
  readonly deadLetters: QueueReceiver;
  readonly close: () => void | Promise<void>;
}

/** What the queues given to the contract have to be set to. */
export const contractMaxReceives = 3;

/** What a backend that stands in for the real one cannot do; the case is run with what it can. */
export interface ContractLimits {
  /** Why a body has no characters beyond U+FFFF. */
  readonly noAstralCharacters?: string;
}

/** What every queue keeps to. Visibility and delays are whole seconds, as SQS has them; order is not promised. */
export function describeQueue(name: string, open: () => Promise<OpenedQueue>, limits: ContractLimits = {}): void {
  const on = (work: (opened: OpenedQueue) => Promise<void>) => async () => {
    const opened = await open();
    try {
      await work(opened);
    } finally {
      await opened.close();
    }
  };

  describe(name, { concurrent: true }, () => {
    const { noAstralCharacters } = limits;

    it(
      `hands out what was sent, every byte of it${noAstralCharacters ? `; without 🐑: ${noAstralCharacters}` : ""}`,
      on(async ({ queue }) => {
        const sent = message({
          body: JSON.stringify({ count: 150, name: noAstralCharacters ? "Zoë" : "Zoë 🐑" }),
          pack: Uint8Array.from({ length: 256 }, (_, i) => i),
        });

        await queue.send([sent]);
        const [delivery] = await receive(queue);

        expect(delivery.body).toBe(sent.body);
        expect(Buffer.from(delivery.pack)).toEqual(Buffer.from(sent.pack));
        expect(delivery.receiveCount).toBe(1);
        expect(Math.abs(delivery.sentAtMs - Date.now())).toBeLessThan(10_000);
      }),
    );

    it(
      "takes more messages in one call than a batch of SQS holds",
      on(async ({ queue }) => {
        const messages = Array.from({ length: 25 }, (_, i) => message({ body: `m${i}` }));

        const mistakes = await queue.send(messages);
        const deliveries = await receiveAll(queue, 25);

        expect(mistakes).toEqual(messages.map(() => undefined));
        expect(bodies(deliveries)).toEqual(bodies(messages));
      }),
    );

    it(
      "takes more bytes in one call than a message may have",
      on(async ({ queue }) => {
        const messages = ["a", "b", "c"].map((body) => message({ body, pack: new Uint8Array(600_000).fill(7) }));

        await queue.send(messages);

        expect(bodies(await receiveAll(queue, 3))).toEqual(["a", "b", "c"]);
      }),
    );

    it(
      "takes nothing from an empty call",
      on(async ({ queue }) => {
        expect(await queue.send([])).toEqual([]);
        expect(await receive(queue)).toEqual([]);
      }),
    );

    it(
      "refuses a message that is too big and takes the others of the call",
      on(async ({ queue }) => {
        const tooBig = message({ body: "big", pack: new Uint8Array(maxMessageBytes - 2) });

        const mistakes = await queue.send([message({ body: "a" }), tooBig, message({ body: "b" })]);

        expect(mistakes.map((mistake) => mistake?.code)).toEqual([undefined, "TOO_BIG", undefined]);
        expect(bodies(await receiveAll(queue, 2))).toEqual(["a", "b"]);
        expect(await receive(queue)).toEqual([]);
      }),
    );

    it(
      "refuses a message with too long a delay and takes the others of the call",
      on(async ({ queue }) => {
        const mistakes = await queue.send([message({ delayMs: maxDelayMs + 1_000 }), message({ body: "b" })]);

        expect(mistakes.map((mistake) => mistake?.code)).toEqual(["BAD_ARGUMENT", undefined]);
        expect(bodies(await receiveAll(queue, 1))).toEqual(["b"]);
      }),
    );

    it(
      "hands out no more messages than asked for",
      on(async ({ queue }) => {
        await queue.send([message(), message(), message()]);

        expect((await receive(queue, { max: 2, waitMs: 5_000 })).length).toBeLessThanOrEqual(2);
      }),
    );

    it(
      "hides a delivery for its visibility, then hands it out again as the same message",
      on(async ({ queue }) => {
        await queue.send([message()]);
        const startMs = performance.now();
        const [first] = await receiveAll(queue, 1, { visibilityMs: 2_000 });

        const [second] = await receiveAll(queue, 1);

        expect(performance.now() - startMs).toBeGreaterThan(1_500);
        expect(second.messageId).toBe(first.messageId);
        expect(second.receipt).not.toBe(first.receipt);
        expect(second.receiveCount).toBe(2);
      }),
    );

    it(
      "never hands out again what was deleted",
      on(async ({ queue }) => {
        await queue.send([message({ body: "done" }), message({ body: "not done" })]);
        const deliveries = await receiveAll(queue, 2, { visibilityMs: 1_000 });

        await queue.delete(deliveries.filter(({ body }) => body === "done").map(({ receipt }) => receipt));

        expect(bodies(await receiveAll(queue, 1, { visibilityMs: 60_000 }))).toEqual(["not done"]);
        expect(await receive(queue, { waitMs: 1_000 })).toEqual([]);
      }),
    );

    it(
      "shows a delivery at once when it is extended by nothing",
      on(async ({ queue }) => {
        await queue.send([message()]);
        const [first] = await receiveAll(queue, 1, { visibilityMs: 600_000 });

        await queue.extend(first.receipt, 0);

        const [second] = await receiveAll(queue, 1);
        expect(second.messageId).toBe(first.messageId);
      }),
    );

    it(
      "hides a delivery for longer when it is extended",
      on(async ({ queue }) => {
        await queue.send([message()]);
        // Long enough to be extended before it ends, also on a machine that stands still for a moment.
        const [first] = await receiveAll(queue, 1, { visibilityMs: 3_000 });

        await queue.extend(first.receipt, 600_000);

        expect(await receive(queue, { waitMs: 4_000 })).toEqual([]);
      }),
    );

    it(
      "hides a delayed message until its time",
      on(async ({ queue }) => {
        const startMs = performance.now();
        await queue.send([message({ delayMs: 2_000 })]);

        expect(await receiveAll(queue, 1)).toHaveLength(1);
        expect(performance.now() - startMs).toBeGreaterThan(1_500);
      }),
    );

    it(
      "ignores a receipt that is not the newest of its message",
      on(async ({ queue }) => {
        await queue.send([message()]);
        const [first] = await receiveAll(queue, 1);
        await queue.extend(first.receipt, 0);
        const [second] = await receiveAll(queue, 1, { visibilityMs: 600_000 });

        await queue.extend(first.receipt, 0);
        const stillHidden = await receive(queue, { waitMs: 1_000 });
        await queue.delete([first.receipt]);
        await queue.extend(second.receipt, 0);

        expect(stillHidden).toEqual([]);
        expect((await receiveAll(queue, 1))[0].messageId).toBe(first.messageId);
      }),
    );

    it(
      "makes a message that was received too often a dead letter",
      on(async ({ queue, deadLetters }) => {
        const sent = message({ body: "poison", pack: Uint8Array.of(1, 2, 3) });
        await queue.send([sent]);
        for (let i = 1; i <= contractMaxReceives; i++) {
          const [delivery] = await receiveAll(queue, 1);
          expect(delivery.receiveCount).toBe(i);
          await queue.extend(delivery.receipt, 0);
        }

        const afterwards = await receive(queue);
        const [letter] = await receiveAll(deadLetters, 1);

        expect(afterwards).toEqual([]);
        expect(letter.body).toBe("poison");
        expect([...letter.pack]).toEqual([1, 2, 3]);
      }),
    );

    it(
      "ends waiting when a message comes",
      on(async ({ queue }) => {
        const startMs = performance.now();
        const waiting = receive(queue, { waitMs: 40_000 });

        await queue.send([message({ body: "new" })]);

        expect(bodies(await waiting)).toEqual(["new"]);
        expect(performance.now() - startMs).toBeLessThan(20_000);
      }),
    );

    it(
      "ends waiting with nothing when the signal is raised",
      on(async ({ queue }) => {
        const abort = new AbortController();
        const startMs = performance.now();
        const waiting = receive(queue, { waitMs: 40_000, signal: abort.signal });

        abort.abort();

        expect(await waiting).toEqual([]);
        expect(performance.now() - startMs).toBeLessThan(20_000);
      }),
    );

    it(
      "receives nothing where the signal was raised before",
      on(async ({ queue }) => {
        await queue.send([message()]);

        expect(await receive(queue, { waitMs: 10_000, signal: AbortSignal.abort() })).toEqual([]);
      }),
    );
  });
}

/** A small message; overridden where a test cares. */
export function message(overrides: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { body: "{}", pack: Uint8Array.of(1), requests: 1, ...overrides };
}

/** One receive of up to ten messages that waits for nothing and hides for half a minute; overridden where a test cares. */
export function receive(queue: QueueReceiver, overrides: Partial<ReceiveOptions> = {}): Promise<readonly Delivery[]> {
  return queue.receive({
    max: 10,
    waitMs: 0,
    visibilityMs: 30_000,
    signal: new AbortController().signal,
    ...overrides,
  });
}

/** Receives until so many messages have come, for half a minute at most: a queue may hand out fewer than it has. */
export async function receiveAll(
  queue: QueueReceiver,
  count: number,
  overrides: Partial<ReceiveOptions> = {},
): Promise<readonly Delivery[]> {
  const deliveries: Delivery[] = [];
  const endMs = performance.now() + 30_000;
  while (deliveries.length < count && performance.now() < endMs) {
    deliveries.push(
      ...(await receive(queue, { waitMs: 1_000, max: Math.min(10, count - deliveries.length), ...overrides })),
    );
  }
  return deliveries;
}

function bodies(messages: readonly { readonly body: string }[]): string[] {
  return messages.map(({ body }) => body).sort();
}
