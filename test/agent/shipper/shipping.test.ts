import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FromWorker } from "../../../agent/shipper/messages.ts";
import { Shipping } from "../../../agent/shipper/shipping.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { readMessage } from "../../../relay/queue/message.ts";
import { QueueError, type QueueSender } from "../../../relay/queue/port.ts";
import { until } from "../../support/clocks/until.ts";
import { packContent } from "../../support/data/captured-requests.ts";

const agent = "edge-1~0badcafe";
let directory: string;
let queue: EmbeddedQueue;
let posted: FromWorker[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-shipping-"));
  queue = EmbeddedQueue.open({ directory, name: "ingress" });
  posted = [];
});

afterEach(() => {
  queue.close();
  rmSync(directory, { recursive: true, force: true });
});

describe.each(["with a journal", "without a journal"])("shipping %s", (kind) => {
  it("sends packs to the queue, and reports their requests and bytes", async () => {
    const shipping = createShipping(kind);
    const contents = [1, 2, 3].map((sequence) => packContent({ sequence }));
    for (const content of contents) add(shipping, content, 1);
    await shipping.finish(30_000);
    const { signal } = new AbortController();
    const deliveries = await queue.receive({ max: 10, waitMs: 0, visibilityMs: 1_000, signal });
    expect(deliveries.map((delivery) => (readMessage(delivery) as { sequence: number }).sequence)).toEqual([1, 2, 3]);
    expect(sum("shipped", "requests")).toBe(3);
    // The memory of shipped packs is no longer counted.
    expect(sum("sealed", "heldBytes")).toBe(sum("shipped", "heldBytes"));
  });

  it("drops a pack above the message limit, counts its requests, and sends the others", async () => {
    const shipping = createShipping(kind);
    add(shipping, randomBytes(1_200_000), 1);
    add(shipping, packContent({ sequence: 8 }), 1);
    await shipping.finish(30_000);
    expect(posted.filter((message) => message.kind === "dropped")).toMatchObject([{ reason: "oversize", requests: 1 }]);
    expect(queue.depth()).toEqual({ messages: 1, requests: 1 });
    const held = sum("sealed", "heldBytes");
    expect(held).toBe(sum("shipped", "heldBytes") + sum("dropped", "heldBytes"));
  });
});

describe("shipping", () => {
  it("drops a pack that the queue would accept, but that would have no room for a reason as a dead letter", async () => {
    const shipping = createShipping("without a journal");
    const times = { first: new Date(0), last: new Date(0), held: [Date.now(), Date.now()] };
    const summary = { v: 1, pack: "0", agent, seq: 1, count: 1, bytes: 1e6, ...times };
    const envelopeBytes = 14;
    const most = queue.maxMessageBytes - envelopeBytes - JSON.stringify(summary).length;
    for (const bytes of [most, most - 4_095, most - 4_096]) add(shipping, randomBytes(bytes), 1);
    await shipping.finish(30_000);
    const { signal } = new AbortController();
    const [delivery, ...others] = await queue.receive({ max: 10, waitMs: 0, visibilityMs: 1_000, signal });

    expect(delivery.body.length + delivery.pack.length).toBe(queue.maxMessageBytes - 4_096);
    expect(others).toEqual([]);
    expect(posted.filter(({ kind }) => kind === "dropped")).toMatchObject([
      { reason: "oversize", requests: 1, detail: expect.stringContaining("a reason can be added") },
      { reason: "oversize", requests: 1 },
    ]);
  });
});

describe("shipping while the queue is away", () => {
  it("gives up packs without a journal at exit, and reports their requests", async () => {
    const shipping = createShipping("without a journal");
    queue.close();
    add(shipping, packContent(), 5);
    await until(() => posted.some(({ kind }) => kind === "queueFailed"));
    await shipping.finish(50);
    expect(posted.filter(({ kind }) => kind === "dropped")).toMatchObject([
      { reason: "given up at exit", requests: 5, volatileRequests: 5 },
    ]);
  });

  it("leaves packs in the journal to the next run, which sends them as recovered", async () => {
    const first = createShipping("with a journal");
    queue.close();
    add(first, packContent(), 5);
    await until(() => posted.some(({ kind }) => kind === "queueFailed"));
    await first.finish(30_000);
    expect(posted.filter(({ kind }) => kind === "dropped")).toEqual([]);

    queue = EmbeddedQueue.open({ directory, name: "ingress" });
    const next = createShipping("with a journal", "edge-1~00000002");
    await next.finish(30_000);
    expect(posted.filter(({ kind }) => kind === "recovered")).toMatchObject([{ packs: 1, requests: 5, damaged: 0 }]);
    expect(sum("shipped", "recoveredRequests")).toBe(5);
    expect(sum("shipped", "requests")).toBe(0);
    expect(queue.depth().messages).toBe(1);
  });
});

describe("shipping to a full queue", () => {
  const full: QueueSender = {
    maxMessageBytes: 1_000_000,
    send: () => Promise.reject(new QueueError("FULL", "the queue is full")),
  };

  it("drops packs and counts them if there is no journal", async () => {
    const shipping = createShipping("without a journal", agent, { queue: full });
    for (let sequence = 1; sequence <= 15; sequence++) add(shipping, packContent({ sequence }), 2);
    await until(() => sum("dropped", "requests") === 30);
    await shipping.finish(1_000);

    expect(posted).toContainEqual(expect.objectContaining({ kind: "dropped", reason: "queue full" }));
    expect(posted).toContainEqual(expect.objectContaining({ kind: "queueFailed", code: "FULL" }));
    expect(sum("dropped", "heldBytes")).toBe(sum("sealed", "heldBytes"));
  });

  it("keeps packs in the journal", async () => {
    const shipping = createShipping("with a journal", agent, { queue: full });
    for (let sequence = 1; sequence <= 15; sequence++) add(shipping, packContent({ sequence }), 2);
    await until(() => posted.some(({ kind }) => kind === "queueFailed"));
    await shipping.finish(1_000);
    const next = createShipping("with a journal", "edge-1~2");
    await next.finish(30_000);

    expect(sum("dropped", "requests")).toBe(0);
    expect(queue.depth()).toEqual({ messages: 15, requests: 30 });
  });
});

describe("shipping with several senders at once", () => {
  it("retries after all of them have failed together", async () => {
    const first = createShipping("with a journal");
    queue.close();
    for (let i = 0; i < 60; i++) add(first, packContent(), 5);
    await first.finish(30_000);
    posted.length = 0;
    queue = EmbeddedQueue.open({ directory, name: "ingress" });
    const next = createShipping("with a journal", "edge-1~00000002", { queue: failing(4) });
    await until(() => sum("shipped", "recoveredRequests") === 300);
    await next.finish(30_000);
    expect(posted.filter(({ kind }) => kind === "queueFailed").length).toBe(4);
    expect(posted.some(({ kind }) => kind === "queueUp")).toBe(true);
  });
});

describe("shipping with a journal that is too small for an outage", () => {
  it.each(["drop-oldest", "drop-newest"] as const)("accounts for every request, with %s", async (whenFull) => {
    const small = { maxBytes: 9 * 1024 * 1024, whenFull };
    const shipping = createShipping("with a journal", agent, small);
    queue.close();
    for (let i = 0; i < 105; i++) add(shipping, randomBytes(200_000), 5);
    await until(() => posted.some(({ kind }) => kind === "queueFailed"));
    await shipping.finish(100);
    const dropped = sum("dropped", "requests");
    expect(dropped).toBeGreaterThan(0);
    // At the end, no request is left that the main thread would count as lost if the thread failed.
    expect(sum("exposed", "requests")).toBe(sum("dropped", "volatileRequests"));

    posted.length = 0;
    queue = EmbeddedQueue.open({ directory, name: "ingress" });
    await createShipping("with a journal", "edge-1~00000002", small).finish(30_000);
    expect(dropped + sum("shipped", "recoveredRequests")).toBe(105 * 5);
  });
});

/** The queue, but its first `calls` calls fail. */
function failing(calls: number): QueueSender {
  let left = calls;
  return {
    maxMessageBytes: queue.maxMessageBytes,
    async send(messages) {
      if (left-- > 0) throw new QueueError("UNAVAILABLE", "not yet");
      return queue.send(messages);
    },
  };
}

function createShipping(
  kind: string,
  run = agent,
  changes: { queue?: QueueSender; maxBytes?: number; whenFull?: "drop-oldest" | "drop-newest" } = {},
): Shipping {
  const { maxBytes = 64 * 1024 * 1024, whenFull = "drop-oldest" } = changes;
  const journal = { directory: join(directory, "journal"), maxBytes, whenFull };
  return new Shipping({
    agent: run,
    queue: changes.queue ?? queue,
    ...(kind === "with a journal" && { journal }),
    post: (message) => posted.push(message),
  });
}

function add(shipping: Shipping, content: Buffer, count: number): void {
  const buffer = new ArrayBuffer(content.length);
  Buffer.from(buffer).set(content);
  const at = new Date(0).toISOString();
  const summary = { v: 1, pack: "0", agent, seq: 1, count, bytes: content.length, first: at, last: at } as const;
  shipping.add({ kind: "pack", buffer, bytes: content.length, summary });
}

function sum(kind: FromWorker["kind"], figure: string): number {
  return posted
    .filter((message) => message.kind === kind)
    .reduce((total, message) => total + Number((message as unknown as Record<string, unknown>)[figure]), 0);
}
