import { createHash } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { EmbeddedQueue, type EmbeddedQueueOptions } from "../../../relay/queue/embedded.ts";
import type { Delivery } from "../../../relay/queue/port.ts";
import { contractMaxReceives, describeQueue, message, receive, receiveAll } from "../../contract/queue-contract.ts";
import { ChildScript } from "../../support/processes/child-script.ts";

const root = mkdtempSync(join(tmpdir(), "embedded-queue-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describeQueue("EmbeddedQueue", async () => {
  const queue = EmbeddedQueue.open({ directory: newDirectory(), name: "q", maxReceives: contractMaxReceives });
  return { queue, deadLetters: queue.deadLetters, close: () => queue.close() };
});

describe("EmbeddedQueue: messages", () => {
  it("delivers the oldest message first, even if it was hidden in between", async () => {
    const queue = open();
    await queue.send(["a", "b", "c"].map((body) => message({ body })));
    const [a] = await receive(queue, { max: 1 });
    await queue.extend(a.receipt, 0);

    expect((await receive(queue)).map(({ body }) => body)).toEqual(["a", "b", "c"]);
  });

  it("includes delayed messages and messages in flight in its depth", async () => {
    const queue = open();
    await queue.send([
      message({ requests: 100 }),
      message({ requests: 20 }),
      message({ requests: 3, delayMs: 60_000 }),
    ]);
    const [first] = await receive(queue, { max: 1 });
    const before = queue.depth();
    await queue.delete([first.receipt]);

    expect(before).toEqual({ messages: 3, requests: 123 });
    expect(queue.depth()).toEqual({ messages: 2, requests: 23 });
  });

  it("receives from a queue full of hidden messages as fast as from an empty one", { timeout: 60_000 }, async () => {
    const [empty, full] = [open(), open()];
    await full.send(Array.from({ length: 50_000 }, () => message({ delayMs: 600_000 })));
    const [emptyMs, fullMs] = [[], []] as [number[], number[]];
    // Measured in turn, and the fastest of 20 counts: a busy machine slows both down.
    for (let round = 0; round < 20; round++) {
      emptyMs.push(await receivingMs(empty, 10));
      fullMs.push(await receivingMs(full, 10));
    }

    // Reading every hidden message would take a hundred times as long.
    expect(Math.min(...fullMs)).toBeLessThan(10 * Math.min(...emptyMs));
  });

  it("removes and counts messages that are too old", async () => {
    const clock = { nowMs: 1_000_000 };
    const queue = open({ retentionMs: 10_000, now: () => clock.nowMs });
    await queue.send([message({ body: "old", requests: 7 }), message({ requests: 5, delayMs: 60_000 })]);
    clock.nowMs += 5_000;
    await queue.send([message({ body: "young", requests: 1 })]);
    clock.nowMs += 6_000;

    expect((await receive(queue)).map(({ body }) => body)).toEqual(["young"]);
    expect(queue.depth()).toEqual({ messages: 1, requests: 1 });
    expect(queue.expired()).toEqual({ messages: 2, requests: 12 });
  });

  it("keeps messages, delays, deliveries and receive counts when the file is reopened", async () => {
    const clock = { nowMs: 1_000_000 };
    const options = { directory: newDirectory(), now: () => clock.nowMs };
    const before = open(options);
    await before.send([message({ body: "a" }), message({ body: "b" }), message({ body: "late", delayMs: 60_000 })]);
    const [a] = await receive(before, { max: 1 });
    before.close();

    const after = open(options);
    const first = await receive(after);
    clock.nowMs += 60_000;
    const second = await receive(after);

    expect(first.map(({ body }) => body)).toEqual(["b"]);
    expect(second.map(({ body, receiveCount }) => [body, receiveCount])).toEqual([
      ["a", 2],
      ["b", 2],
      ["late", 1],
    ]);
    await after.delete([a.receipt]);
    expect(after.depth().messages).toBe(3);
  });

  it("never gives a new message the id of a deleted one", async () => {
    const queue = open();
    await queue.send([message()]);
    const [first] = await receive(queue);
    await queue.delete([first.receipt]);
    await queue.send([message()]);

    const [second] = await receive(queue);
    expect(second.messageId).not.toBe(first.messageId);
  });

  it.each([
    ["max", { max: 11 }],
    ["max", { max: 0 }],
    ["visibilityMs", { visibilityMs: -1 }],
    ["visibilityMs", { visibilityMs: 43_200_001 }],
  ])("refuses to receive with an invalid %s: %o", async (_, options) => {
    await expect(receive(open(), options)).rejects.toMatchObject({ code: "BAD_ARGUMENT" });
  });

  it("refuses a receipt that it never issued", async () => {
    await expect(open().delete(["nonsense"])).rejects.toMatchObject({ code: "BAD_ARGUMENT" });
  });
});

describe("EmbeddedQueue: dead letters", () => {
  it("include the reason why a message was given up", async () => {
    const clock = { nowMs: 1_000_000 };
    const queue = open({ maxReceives: 2, now: () => clock.nowMs });
    await queue.send([message({ body: "poison", requests: 150 })]);
    for (let i = 0; i < 3; i++, clock.nowMs += 10_000) await receive(queue, { visibilityMs: 10_000 });

    expect(queue.depth()).toEqual({ messages: 0, requests: 0 });
    expect(queue.deadLetters.depth()).toEqual({ messages: 1, requests: 150 });
    expect(await queue.deadLetters.browse(10)).toMatchObject([
      { body: "poison", sentAtMs: 1_000_000, reason: "received 2 times and never finished" },
    ]);
  });

  it("include a message after 100 receives by default", async () => {
    const queue = open();
    await queue.send([message()]);
    let receives = 0;
    while ((await receive(queue, { visibilityMs: 0 })).length > 0) receives++;

    expect(receives).toBe(100);
    expect(queue.deadLetters.depth().messages).toBe(1);
  });

  it("are browsed without being received, the oldest first", async () => {
    const queue = open();
    await queue.send([message({ body: "alive" })]);
    await queue.deadLetters.send(["a", "b", "c", "d", "e"].map((body) => message({ body })));
    await receive(queue.deadLetters, { max: 1 });

    const letters = await queue.deadLetters.browse(3);

    expect(letters.map(({ body }) => body)).toEqual(["a", "b", "c"]);
    expect(letters[0]).not.toHaveProperty("reason");
  });

  it("are received and deleted separately from the queue's messages, and never given up", async () => {
    const queue = open({ maxReceives: 1 });
    await queue.deadLetters.send([message({ body: "dead" })]);
    await receive(queue.deadLetters, { visibilityMs: 0 });
    await receive(queue.deadLetters, { visibilityMs: 0 });
    const [letter] = await receive(queue.deadLetters);
    await queue.delete([letter.receipt]);
    const kept = queue.deadLetters.depth().messages;
    await queue.deadLetters.delete([letter.receipt]);

    expect(await receive(queue)).toEqual([]);
    expect(letter.receiveCount).toBe(3);
    expect([kept, queue.deadLetters.depth().messages]).toEqual([1, 0]);
  });
});

describe("EmbeddedQueue: the file", () => {
  it("shrinks after messages are deleted", { timeout: 60_000 }, async () => {
    const directory = newDirectory();
    const queue = open({ directory });
    const pack = new Uint8Array(64_000).fill(1);
    for (let i = 0; i < 60; i++) await queue.send(Array.from({ length: 10 }, () => message({ pack })));
    const fullBytes = diskBytes(directory);
    for (let left = 600; left > 0; ) {
      const deliveries = await receive(queue);
      await queue.delete(deliveries.map(({ receipt }) => receipt));
      left -= deliveries.length;
    }

    expect(fullBytes).toBeGreaterThan(38_000_000);
    // A receiver that waits for messages continues to shrink the file.
    await receiveUntil(queue, () => diskBytes(directory) < fullBytes / 3);
    expect(diskBytes(directory)).toBeLessThan(fullBytes / 3);
  });

  it("wakes a waiting receiver when another process sends", { timeout: 60_000 }, async () => {
    const directory = newDirectory();
    const queue = open({ directory });
    const waiting = receive(queue, { waitMs: 40_000 }).then((deliveries) => ({ deliveries, atMs: Date.now() }));
    const writer = new ChildScript("queue-writer.ts", [directory, "q"]);
    const { deliveries, atMs } = await waiting;
    await writer.kill();

    expect(deliveries.length).toBeGreaterThan(0);
    // Long before the wait of 40 seconds ends.
    expect(atMs - deliveries[0].sentAtMs).toBeLessThan(10_000);
  });

  it("has every acknowledged message, complete, after its writer was killed", { timeout: 60_000 }, async () => {
    for (const linesBeforeKill of [1, 40, 200]) {
      const directory = newDirectory();
      const writer = new ChildScript("queue-writer.ts", [directory, "q"]);
      await writer.printed(linesBeforeKill);
      await writer.kill();

      const queue = open({ directory });
      const numbers = await receiveNumbers(queue);

      expect(writer.lines.length).toBeGreaterThanOrEqual(linesBeforeKill);
      expect(numbers).toEqual(expect.arrayContaining(acknowledged(writer)));
      // A batch is stored completely or not at all, so no number is missing.
      expect(numbers).toEqual(numbers.map((_, i) => i));
      expect(numbers.length % 3).toBe(0);
      expect(queue.depth().messages).toBe(numbers.length);
    }
  });

  it("delivers no message to two processes within its visibility timeout", { timeout: 60_000 }, async () => {
    const directory = newDirectory();
    const queue = open({ directory });
    await queue.send(Array.from({ length: 3_000 }, () => message({ pack: new Uint8Array(1_000) })));
    const readers = [1, 2, 3].map(() => new ChildScript("queue-reader.ts", [directory, "q"]));
    for (const reader of readers) await reader.printed(1);
    for (const reader of readers) reader.start();
    // Each reader has received a message before any reader continues, whatever the machine schedules first.
    for (const reader of readers) await reader.printed(2);
    for (const reader of readers) reader.start();
    for (const reader of readers) await reader.exited();

    const received = readers.map(({ lines }) => lines.slice(1));
    expect(received.flat()).toHaveLength(3_000);
    expect(new Set(received.flat()).size).toBe(3_000);
    expect(received.every((ids) => ids.length > 0)).toBe(true);
  });

  it("keeps its messages if the disk is full, and the send fails", { timeout: 60_000 }, async () => {
    const directory = newDirectory();
    const writer = new ChildScript("queue-writer.ts", [directory, "q"], 4_096);
    await writer.exited();
    const queue = open({ directory });

    expect(writer.lines.at(-1)).toBe("failed UNAVAILABLE");
    expect(acknowledged(writer).length).toBeGreaterThan(3);
    expect(await receiveNumbers(queue)).toEqual(acknowledged(writer));
  });

  it("can be opened by many processes at once while it is created", { timeout: 60_000 }, async () => {
    const directory = newDirectory();
    const readers = Array.from({ length: 6 }, () => new ChildScript("queue-reader.ts", [directory, "q"]));
    for (const reader of readers) await reader.printed(1);
    const printed = readers.map(({ lines }) => lines);
    for (const reader of readers) await reader.kill();

    expect(printed).toEqual(readers.map(() => ["ready"]));
  });

  it("is readable by its owner only, even in a directory that everybody may read", async () => {
    const directory = newDirectory();
    chmodSync(directory, 0o755);
    await open({ directory }).send([message()]);
    const modes = readdirSync(directory).map((file) => (statSync(join(directory, file)).mode & 0o777).toString(8));

    expect(modes).toEqual(["600", "600", "600", "600", "600"]);
  });

  it("is refused if it is not a database", () => {
    const directory = newDirectory();
    writeFileSync(join(directory, "q.queue.db"), "this is not a database: SQLite refuses to open it".repeat(100));

    expect(() => open({ directory })).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
  });

  it("is refused in a directory that cannot be created", () => {
    const directory = newDirectory();
    writeFileSync(join(directory, "file"), "");

    expect(() => open({ directory: join(directory, "file", "below") })).toThrow(
      expect.objectContaining({ code: "UNAVAILABLE" }),
    );
  });

  it.each(["", "../q", "a b", "q".repeat(81)])("is refused with the invalid name %j", (name) => {
    expect(() => open({ name })).toThrow(expect.objectContaining({ code: "BAD_ARGUMENT" }));
  });

  it("ends a waiting receive and refuses all other calls once it is closed", async () => {
    const queue = open();
    const waiting = receive(queue, { waitMs: 10_000 });
    queue.close();
    queue.close();

    expect(await waiting).toEqual([]);
    await expect(queue.send([message()])).rejects.toMatchObject({ name: "QueueError", code: "UNAVAILABLE" });
    await expect(receive(queue)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

async function receivingMs(queue: EmbeddedQueue, times: number): Promise<number> {
  const startMs = performance.now();
  for (let i = 0; i < times; i++) await receive(queue);
  return performance.now() - startMs;
}

function newDirectory(): string {
  return mkdtempSync(join(root, "q-"));
}

function open(options: Partial<EmbeddedQueueOptions> = {}): EmbeddedQueue {
  const queue = EmbeddedQueue.open({ directory: newDirectory(), name: "q", ...options });
  onTestFinished(() => queue.close());
  return queue;
}

function diskBytes(directory: string): number {
  return ["", "-wal"].reduce((sum, end) => sum + statSync(join(directory, `q.queue.db${end}`)).size, 0);
}

async function receiveUntil(queue: EmbeddedQueue, fact: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!fact() && performance.now() < endMs) await receive(queue, { waitMs: 50 });
}

function acknowledged(writer: ChildScript): number[] {
  return writer.lines.filter((line) => line.startsWith("sent ")).map((line) => Number(line.slice(5)));
}

/** The numbers of a writer's messages. Throws if a message is torn. */
async function receiveNumbers(queue: EmbeddedQueue): Promise<number[]> {
  const deliveries: readonly Delivery[] = await receiveAll(queue, queue.depth().messages);
  return deliveries.map(({ body, pack }) => {
    const [number, hash] = body.split(" ");
    if (createHash("sha256").update(pack).digest("hex") !== hash) throw new Error(`message ${number} is torn`);
    return Number(number);
  });
}
