import { randomBytes } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import type { BrowsableQueue } from "../../../relay/queue/port.ts";
import { message, receive } from "../../contract/queue-contract.ts";
import { until } from "../../support/clocks/until.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

// 20 packs of up to 80 KB, and in each a mark every 500 bytes.
const packs = Array.from({ length: 20 }, (_, i) => randomBytes(1_000 + i * 4_000));

describe("EmbeddedQueue: a deleted message", () => {
  it.each(["queue", "deadLetters"] as const)("of %s is in no file once nothing happens", async (lane) => {
    const { directory, queue } = openNew();
    await fillAndEmpty(queue[lane]);

    await until(() => countLeft(directory) === 0);
  });

  it("is in no file after the queue was closed, while another process has it open", async () => {
    const { directory, queue } = openNew();
    open(directory);
    await fillAndEmpty(queue);
    queue.close();

    expect(countLeft(directory)).toBe(0);
  });

  it("is in no file although others around it stay", async () => {
    const { directory, queue } = openNew();
    await queue.send(packs.map((pack) => message({ pack })));
    const kept = new Set<number>();
    for (let i = 0; i < packs.length; i++) {
      const [{ receipt, pack }] = await receive(queue, { max: 1 });
      if (i % 3 === 0) kept.add(packs.findIndex((each) => Buffer.compare(each, pack) === 0));
      else await queue.delete([receipt]);
    }
    queue.close();

    expect(new Set(findLeft(directory))).toEqual(kept);
  });

  it("that an older version has left in its file is erased when the file is opened", async () => {
    const { directory, queue } = openNew();
    await queue.send(packs.map((pack) => message({ pack })));
    queue.close();
    const old = new DatabaseSync(join(directory, "q.queue.db"));
    old.exec("PRAGMA secure_delete = OFF; PRAGMA user_version = 0; DELETE FROM message WHERE id % 10 <> 0");
    old.close();
    const before = countLeft(directory);
    const reopened = open(directory);
    reopened.close();

    expect(before).toBeGreaterThan(10);
    expect(countLeft(directory)).toBe(2);
  });

  it("is left to the process that has deleted it by one that only looks", async () => {
    const { directory, queue } = openNew();
    await fillAndEmpty(queue);
    const before = countFreePages(directory);
    const looking = open(directory);
    looking.depth();
    looking.close();

    expect(before).toBeGreaterThan(10);
    expect(countFreePages(directory)).toBe(before);
  });

  it("of a large file of an older version is not erased in one long write", () => {
    const { directory, queue } = openNew();
    queue.close();
    const old = new DatabaseSync(join(directory, "q.queue.db"));
    const add = old.prepare("INSERT INTO payload VALUES (?, '', zeroblob(?))");
    const MiB = 1024 * 1024;
    for (const [id, bytes] of [24 * MiB, 33 * MiB, 33 * MiB].entries()) add.run(id, bytes);
    old.exec("PRAGMA secure_delete = OFF; DELETE FROM payload WHERE id = 0; PRAGMA user_version = 0");
    old.close();
    const before = countFreePages(directory);
    open(directory);

    expect(before).toBeGreaterThan(1_500);
    expect(statSync(join(directory, "q.queue.db-wal")).size).toBeLessThan(MiB);
  });

  it("of a process that was killed is erased by the next one", async () => {
    const [{ directory, queue }, next] = [openNew(), temporaryDirectory()];
    await fillAndEmpty(queue);
    // What a killed process leaves.
    for (const file of readdirSync(directory)) copyFileSync(join(directory, file), join(next, file));
    const before = countLeft(next);
    open(next);

    expect(before).toBeGreaterThan(0);
    await until(() => countLeft(next) === 0);
  });
});

function openNew(): { readonly directory: string; readonly queue: EmbeddedQueue } {
  const directory = temporaryDirectory();
  return { directory, queue: open(directory) };
}

function open(directory: string): EmbeddedQueue {
  const queue = EmbeddedQueue.open({ directory, name: "q" });
  onTestFinished(() => queue.close());
  return queue;
}

async function fillAndEmpty(queue: BrowsableQueue): Promise<void> {
  await queue.send(packs.map((pack) => message({ pack })));
  for (let left = packs.length; left > 0; ) {
    const deliveries = await receive(queue);
    await queue.delete(deliveries.map(({ receipt }) => receipt));
    left -= deliveries.length;
  }
}

function countFreePages(directory: string): number {
  const database = new DatabaseSync(join(directory, "q.queue.db"));
  try {
    return Number(database.prepare("PRAGMA freelist_count").get()?.freelist_count);
  } finally {
    database.close();
  }
}

function countLeft(directory: string): number {
  return findLeft(directory).length;
}

/** The packs of which a part is in a file. */
function findLeft(directory: string): readonly number[] {
  const contents = readdirSync(directory).map((file) => readFileSync(join(directory, file)));
  return packs.flatMap((pack, i) => {
    for (let at = 0; at + 16 <= pack.length; at += 500) {
      if (contents.some((content) => content.includes(pack.subarray(at, at + 16)))) return [i];
    }
    return [];
  });
}
