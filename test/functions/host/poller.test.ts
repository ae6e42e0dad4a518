import { Hono } from "hono";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createBatchApp, type Handled, type Invocation } from "../../../functions/batch.ts";
import { Poller, type PollerOptions } from "../../../functions/host/poller.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { type Delivery, QueueError, type QueueReceiver } from "../../../relay/queue/port.ts";
import { until } from "../../support/clocks/until.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { packIn, packMessage, requests } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

describe("Poller", () => {
  it("deletes only the messages that succeeded", async () => {
    const queue = openQueue();
    const seen: number[] = [];
    poll({
      queue,
      handle: async (delivery) => {
        const { sequence } = packIn(delivery);
        seen.push(sequence);
        return sequence === 2 ? "again" : "done";
      },
    });
    await queue.send([1, 2, 3].map((sequence) => packMessage({ sequence })));
    await until(() => queue.depth().messages === 1);

    expect(seen.sort()).toEqual([1, 2, 3]);
    const [left] = await receiveAfter(queue, 60_000);
    expect([packIn(left).sequence, left.receiveCount]).toEqual([2, 2]);
  });

  it("deletes nothing of a batch if the function answers with an error", async () => {
    const queue = openQueue();
    const log = new LogLines();
    const app = new Hono<{ Bindings: Invocation }>();
    app.post("/", (context) => context.text("no", 502));
    poll({ queue, app, log: log.log });
    await queue.send([packMessage()]);
    await until(() => log.lines.length > 0);

    expect(queue.depth().messages).toBe(1);
    expect(log.lines).toMatchObject([
      { event: "poll-failed", queue: "staging", reason: "the function answered 502", heldBack: 0 },
    ]);
  });

  it("handles messages that mostly wait in addition to the others, and finishes them before it stops", async () => {
    const queue = openQueue();
    const gate = new Gate<Handled>();
    const seen: number[] = [];
    const poller = poll({
      queue,
      batch: 1,
      inFlight: 1,
      waits: (body) => body.includes("patient"),
      handle: async (delivery) => {
        const { agent, sequence } = packIn(delivery);
        seen.push(sequence);
        return agent === "patient" ? gate.opened : "done";
      },
    });
    await queue.send([1, 2, 3].map((sequence) => packMessage({ agent: "patient", sequence })));
    await queue.send([packMessage({ agent: "edge", sequence: 4 })]);
    await until(() => queue.depth().messages === 3);
    const stopped = poller.stop();
    gate.open("done");
    await stopped;

    expect(seen).toEqual([1, 2, 3, 4]);
    expect(queue.depth().messages).toBe(0);
  });

  it("continues after its queue has failed", async () => {
    const queue = openQueue();
    const log = new LogLines();
    let failures = 1;
    const failing: QueueReceiver = {
      receive: async (options) => {
        if (failures-- > 0) throw new QueueError("UNAVAILABLE", "the disk is full");
        return queue.receive(options);
      },
      delete: (receipts) => queue.delete(receipts),
      extend: (receipt, ms) => queue.extend(receipt, ms),
    };
    poll({ queue: failing, handle: async () => "done", log: log.log });
    await queue.send([packMessage()]);
    await until(() => queue.depth().messages === 0);

    expect(log.lines).toMatchObject([
      { level: "error", event: "queue-down", queue: "staging", reason: "the disk is full" },
      { level: "info", event: "queue-up", queue: "staging", failures: 1 },
    ]);
  });

  it("runs at most `inFlight` invocations at once", async () => {
    const queue = openQueue();
    const gate = new Gate<Handled>();
    let atOnce = 0;
    let most = 0;
    poll({
      queue,
      batch: 2,
      inFlight: 3,
      handle: async () => {
        most = Math.max(most, ++atOnce);
        const handled = await gate.opened;
        atOnce--;
        return handled;
      },
    });
    await queue.send(Array.from({ length: 20 }, (_, i) => packMessage({ sequence: i })));
    await until(() => atOnce === 6);
    gate.open("done");
    await until(() => queue.depth().messages === 0);

    expect(most).toBe(6);
  });

  it("keeps messages in progress hidden, however long that takes", async () => {
    // Time passes in steps, and each step waits for the poller, so that a stall of the machine cannot fail the test.
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    let nowMs = Date.now();
    const queue = openQueue(() => nowMs);
    const gate = new Gate<Handled>();
    let extended = 0;
    let handled = 0;
    const watched: QueueReceiver = {
      receive: (options) => queue.receive(options),
      delete: (receipts) => queue.delete(receipts),
      extend: async (receipt, ms) => {
        await queue.extend(receipt, ms);
        extended++;
      },
    };
    poll({
      queue: watched,
      inFlight: 2,
      visibilityMs: 600,
      handle: async () => {
        handled++;
        return gate.opened;
      },
    });
    await queue.send([packMessage()]);
    await until(() => handled === 1);
    // Twice the visibility timeout.
    for (let passedMs = 0; passedMs < 1_200; passedMs += 200) {
      nowMs += 200;
      vi.advanceTimersByTime(200);
      await until(() => extended === passedMs / 200 + 1);
      expect(await receiveAfter(queue, 0)).toEqual([]);
    }
    gate.open("done");
    await until(() => queue.depth().messages === 0);

    expect(handled).toBe(1);
  });

  it("hands a message back after 6 hours, before its queue shows it to others, and receives it anew", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    onTestFinished(() => void vi.useRealTimers());
    const queue = openQueue();
    const receives: number[] = [];
    poll({
      queue,
      visibilityMs: 3 * hourMs,
      handle: ({ receiveCount }, { signal }) => {
        receives.push(receiveCount);
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve("again")));
      },
    });
    await queue.send([packMessage()]);
    await until(() => receives.length === 1);
    vi.advanceTimersByTime(7 * hourMs);
    await until(() => receives.length === 2);

    expect(receives).toEqual([1, 2]);
  });

  it("stops at once while it waits for a message", async () => {
    const poller = poll({ queue: openQueue(), inFlight: 4, handle: async () => "done" });
    const startMs = performance.now();
    await poller.stop();

    // A long poll would take 20 s.
    expect(performance.now() - startMs).toBeLessThan(15_000);
  });

  it("finishes the messages in progress when it stops, and receives no more", async () => {
    const queue = openQueue();
    const gate = new Gate<Handled>();
    let handled = 0;
    const poller = poll({
      queue,
      batch: 1,
      handle: async () => {
        handled++;
        return gate.opened;
      },
    });
    await queue.send([packMessage({ sequence: 1 }), packMessage({ sequence: 2 })]);
    await until(() => handled === 1);
    const stopped = poller.stop();
    gate.open("done");
    await stopped;

    expect(handled).toBe(1);
    expect(queue.depth().messages).toBe(1);
  });

  it("aborts its function when it stops, and makes the messages it hands back visible at once", async () => {
    const queue = openQueue();
    let started = false;
    const poller = poll({
      queue,
      handle: (_delivery, { signal }) => {
        started = true;
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve("again")));
      },
    });
    await queue.send([packMessage({ requests: requests(2) })]);
    await until(() => started);
    await poller.stop();
    const [delivery] = await receiveAfter(queue, 0);

    expect(delivery.receiveCount).toBe(2);
  });
});

const hourMs = 3_600_000;
let nowOffsetMs = 0;

function openQueue(now = () => Date.now() + nowOffsetMs): EmbeddedQueue {
  nowOffsetMs = 0;
  const queue = EmbeddedQueue.open({ directory: temporaryDirectory(), name: "q", now });
  onTestFinished(() => queue.close());
  return queue;
}

async function receiveAfter(queue: EmbeddedQueue, ms: number): Promise<readonly Delivery[]> {
  nowOffsetMs += ms;
  return queue.receive({ max: 10, waitMs: 0, visibilityMs: 30_000, signal: new AbortController().signal });
}

type Handle = Parameters<typeof createBatchApp>[1];

function poll({
  handle = async () => "done",
  ...options
}: Partial<PollerOptions> & { readonly queue: QueueReceiver; readonly handle?: Handle }): Poller {
  const log = options.log ?? new LogLines().log;
  const poller = new Poller({
    name: "staging",
    app: createBatchApp(log, handle),
    batch: 10,
    inFlight: 1,
    visibilityMs: 30_000,
    log,
    ...options,
  });
  onTestFinished(() => poller.stop());
  return poller;
}

class Gate<T> {
  open: (value: T) => void = () => {};
  readonly opened = new Promise<T>((resolve) => {
    this.open = resolve;
  });
}
