import { afterAll, describe, expect, test as tested } from "vitest";
import {
  type Delivery,
  maxDelayMs,
  maxMessageBytes,
  type OutgoingMessage,
  type QueueReceiver,
  type QueueSender,
  type ReceiveOptions,
} from "../../relay/queue/port.ts";

/** An empty queue with its dead-letter queue. */
export interface OpenedQueue {
  readonly queue: QueueSender & QueueReceiver;
  readonly deadLetters: QueueReceiver;
  readonly close: () => void | Promise<void>;
}

/** The number of receives after which the queues under test must give up a message. */
export const contractMaxReceives = 3;

/** Limits of an emulator. The affected test runs with what the emulator can do, or is skipped. */
export interface ContractLimits {
  /** Set if bodies cannot have characters beyond U+FFFF: the reason. */
  readonly noAstralCharacters?: string;
  /** The reasons why facts do not hold in the emulator, by the name of their test. */
  readonly lacks?: Readonly<Record<string, string>>;
}

/** The contract of every queue. Visibility timeouts and delays are whole seconds, as in SQS; the order is not guaranteed. */
export function describeQueue(name: string, open: () => Promise<OpenedQueue>, limits: ContractLimits = {}): void {
  const on = (work: (opened: OpenedQueue) => Promise<void>) => async () => {
    const opened = await open();
    try {
      await work(opened);
    } finally {
      await opened.close();
    }
  };

  const { noAstralCharacters, lacks = {} } = limits;
  const left = new Set(Object.keys(lacks));
  const it = (fact: string, test: () => Promise<void>) => {
    left.delete(fact);
    if (fact in lacks) skipped(`${fact}: ${lacks[fact]}`, test);
    else tested(fact, test);
  };

  describe(name, { concurrent: true }, () => {
    afterAll(() => {
      if (left.size > 0) throw new Error(`the contract of queues has no test named: ${[...left].join("; ")}`);
    });

    it(
      `delivers every byte that was sent${noAstralCharacters ? `; without 🐑: ${noAstralCharacters}` : ""}`,
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
      "accepts more messages in one call than an SQS batch holds",
      on(async ({ queue }) => {
        const messages = Array.from({ length: 25 }, (_, i) => message({ body: `m${i}` }));

        const mistakes = await queue.send(messages);
        const deliveries = await receiveAll(queue, 25);

        expect(mistakes).toEqual(messages.map(() => undefined));
        expect(bodies(deliveries)).toEqual(bodies(messages));
      }),
    );

    it(
      "accepts more bytes in one call than a message may have",
      on(async ({ queue }) => {
        const messages = ["a", "b", "c"].map((body) => message({ body, pack: new Uint8Array(600_000).fill(7) }));

        await queue.send(messages);

        expect(bodies(await receiveAll(queue, 3))).toEqual(["a", "b", "c"]);
      }),
    );

    it(
      "stores nothing for an empty call",
      on(async ({ queue }) => {
        expect(await queue.send([])).toEqual([]);
        expect(await receive(queue)).toEqual([]);
      }),
    );

    it(
      "refuses a message that is too big and stores the others of the call",
      on(async ({ queue }) => {
        const tooBig = message({ body: "big", pack: new Uint8Array(maxMessageBytes - 2) });

        const mistakes = await queue.send([message({ body: "a" }), tooBig, message({ body: "b" })]);

        expect(mistakes.map((mistake) => mistake?.code)).toEqual([undefined, "TOO_BIG", undefined]);
        expect(bodies(await receiveAll(queue, 2))).toEqual(["a", "b"]);
        expect(await receive(queue)).toEqual([]);
      }),
    );

    it(
      "delivers a message without a pack, of another program, with an empty pack",
      on(async ({ queue }) => {
        const mistakes = await queue.send([message({ body: "hello", pack: new Uint8Array() })]);
        const [delivery] = await receiveAll(queue, 1);

        expect(mistakes).toEqual([undefined]);
        expect([delivery.body, delivery.pack.length]).toEqual(["hello", 0]);
      }),
    );

    it(
      "refuses a body that is empty or has a character that SQS does not accept, and stores the others of the call",
      on(async ({ queue }) => {
        const wrong = ["", "\0", "a\u001fb", "\ufffe", "x\uffff"];

        const mistakes = await queue.send(["\t\n\r", ...wrong, "\u007f\ufffd"].map((body) => message({ body })));

        expect(mistakes.map((mistake) => mistake?.code)).toEqual([
          undefined,
          ...wrong.map(() => "BAD_ARGUMENT"),
          undefined,
        ]);
        expect(bodies(await receiveAll(queue, 2))).toEqual(["\t\n\r", "\u007f\ufffd"]);
      }),
    );

    it(
      "refuses a message whose delay is too long and stores the others of the call",
      on(async ({ queue }) => {
        const mistakes = await queue.send([message({ delayMs: maxDelayMs + 1_000 }), message({ body: "b" })]);

        expect(mistakes.map((mistake) => mistake?.code)).toEqual(["BAD_ARGUMENT", undefined]);
        expect(bodies(await receiveAll(queue, 1))).toEqual(["b"]);
      }),
    );

    it(
      "delivers at most the requested number of messages",
      on(async ({ queue }) => {
        await queue.send([message(), message(), message()]);

        expect((await receive(queue, { max: 2, waitMs: 5_000 })).length).toBeLessThanOrEqual(2);
      }),
    );

    it(
      "hides a delivered message for its visibility timeout, then delivers the same message again",
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
      "never delivers a deleted message again",
      on(async ({ queue }) => {
        await queue.send([message({ body: "done" }), message({ body: "not done" })]);
        const deliveries = await receiveAll(queue, 2, { visibilityMs: 1_000 });

        await queue.delete(deliveries.filter(({ body }) => body === "done").map(({ receipt }) => receipt));

        expect(bodies(await receiveAll(queue, 1, { visibilityMs: 60_000 }))).toEqual(["not done"]);
        expect(await receive(queue, { waitMs: 1_000 })).toEqual([]);
      }),
    );

    it(
      "shows a delivered message at once if it is extended by 0",
      on(async ({ queue }) => {
        await queue.send([message()]);
        const [first] = await receiveAll(queue, 1, { visibilityMs: 600_000 });

        await queue.extend(first.receipt, 0);

        const [second] = await receiveAll(queue, 1);
        expect(second.messageId).toBe(first.messageId);
      }),
    );

    it(
      "hides a delivered message for longer if it is extended",
      on(async ({ queue }) => {
        await queue.send([message()]);
        // Long enough to be extended in time, even on a machine that stalls for a moment.
        const [first] = await receiveAll(queue, 1, { visibilityMs: 3_000 });

        await queue.extend(first.receipt, 600_000);

        expect(await receive(queue, { waitMs: 4_000 })).toEqual([]);
      }),
    );

    it(
      "hides a delayed message until its delay is over",
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
      "ends waiting when a message arrives",
      on(async ({ queue }) => {
        const startMs = performance.now();
        const waiting = receive(queue, { waitMs: 40_000 });

        await queue.send([message({ body: "new" })]);

        expect(bodies(await waiting)).toEqual(["new"]);
        expect(performance.now() - startMs).toBeLessThan(20_000);
      }),
    );

    it(
      "ends waiting without a message when the signal is aborted",
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
      "receives nothing if the signal was aborted before",
      on(async ({ queue }) => {
        await queue.send([message()]);

        expect(await receive(queue, { waitMs: 10_000, signal: AbortSignal.abort() })).toEqual([]);
      }),
    );
  });
}

const skipped = tested.skip;

/** A small message, with overrides. */
export function message(overrides: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { body: "{}", pack: Uint8Array.of(1), requests: 1, ...overrides };
}

/** Receives up to ten messages without waiting and hides them for 30 seconds, with overrides. */
export function receive(queue: QueueReceiver, overrides: Partial<ReceiveOptions> = {}): Promise<readonly Delivery[]> {
  return queue.receive({
    max: 10,
    waitMs: 0,
    visibilityMs: 30_000,
    signal: new AbortController().signal,
    ...overrides,
  });
}

/** Receives until `count` messages have arrived, for at most 30 seconds: a receive may return fewer than the queue has. */
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
