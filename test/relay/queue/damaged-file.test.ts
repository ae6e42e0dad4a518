import { closeSync, openSync, readdirSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type DamagedFile, damagedFilesOf } from "../../../relay/queue/damaged-file.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { message, receive } from "../../contract/queue-contract.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const file = "q.queue.db";
const pageBytes = 16_384;

describe("a damaged file of a queue", () => {
  it.each([
    ["a header of zeros", (path: string) => overwrite(path, 0, Buffer.alloc(100))],
    ["a text", (path: string) => overwrite(path, 0, Buffer.from("this is not a database".repeat(5_000)))],
    ["a missing end", (path: string) => truncateSync(path, 20_000)],
    [
      "noise in all pages but the first",
      (path: string) => overwrite(path, pageBytes, Buffer.alloc(statSync(path).size, 0xa5)),
    ],
  ])("with %s is set aside, and the queue goes on with an empty one", async (_, damage) => {
    const directory = await filled();
    damage(join(directory, file));
    const damaged: DamagedFile[] = [];
    const queue = await openUsable(directory, damaged);
    await queue.send([message({ body: "new" })]);

    expect((await receive(queue)).map(({ body }) => body)).toEqual(["new"]);
    expect(damaged).toEqual([{ queue: "q", file: damagedFilesOf(directory, "q")[0], reason: expect.any(String) }]);
    expect(damaged[0].file).toMatch(/q\.queue\.db\.damaged-\d{4}-\d\d-\d\dT/);
    expect(statSync(damaged[0].file).size).toBeGreaterThan(0);
  });

  it("is set aside when a page turns out to be damaged while it is used", async () => {
    const directory = await filled();
    const damaged: DamagedFile[] = [];
    const queue = open(directory, (each) => damaged.push(each));
    queue.depth();
    overwrite(join(directory, file), pageBytes, Buffer.alloc(statSync(join(directory, file)).size - pageBytes, 0xa5));
    await untilDamaged(queue, damaged);
    await queue.send([message({ body: "new" })]);

    const bodies = (await receive(queue)).map(({ body }) => body);
    expect(bodies.at(-1)).toBe("new");
    expect(bodies).not.toContain("{}");
    expect(damaged).toHaveLength(1);
  });

  it("is set aside once, and all who have it open go on with its successor", async () => {
    const directory = await filled();
    const damaged: DamagedFile[] = [];
    const [one, other] = [1, 2].map(() => open(directory, (each) => damaged.push(each)));
    const [held] = await receive(other, { max: 1 });
    overwrite(join(directory, file), pageBytes, Buffer.alloc(statSync(join(directory, file)).size - pageBytes, 0xa5));
    const third = await openUsable(directory, damaged);
    await one.send([message({ body: "of one" })]).catch(() => one.send([message({ body: "of one" })]));
    // A receipt of the old file means nothing in the new one.
    await other.delete([held.receipt]).catch(() => {});
    await other.send([message({ body: "of another" })]);

    expect((await receive(third)).map(({ body }) => body)).toEqual(["of one", "of another"]);
    expect(damaged).toHaveLength(1);
  });

  it("stays where it is for a command that only looks", async () => {
    const directory = await filled();
    overwrite(join(directory, file), 0, Buffer.alloc(100));

    expect(() => EmbeddedQueue.open({ directory, name: "q" })).toThrow(
      expect.objectContaining({ code: "UNAVAILABLE", message: "queue q: file is not a database" }),
    );
    expect(readdirSync(directory)).toContain(file);
    expect(damagedFilesOf(directory, "q")).toEqual([]);
  });
});

it("a damaged state stays where it is, and the error says what to do", async () => {
  const directory = temporaryDirectory();
  EmbeddedState.open(directory).close();
  overwrite(join(directory, "state.db"), 0, Buffer.alloc(100));

  expect(() => EmbeddedState.open(directory)).toThrow(
    `mkdir ${directory}/state.db.damaged && mv ${directory}/state.db* ${directory}/state.db.damaged/`,
  );
});

async function filled(): Promise<string> {
  const directory = temporaryDirectory();
  const queue = EmbeddedQueue.open({ directory, name: "q" });
  await queue.send(Array.from({ length: 40 }, () => message({ pack: new Uint8Array(3_000) })));
  queue.close();
  return directory;
}

function open(directory: string, onDamaged: (damaged: DamagedFile) => void): EmbeddedQueue {
  const queue = EmbeddedQueue.open({ directory, name: "q", onDamaged });
  onTestFinished(() => queue.close());
  return queue;
}

async function openUsable(directory: string, damaged: DamagedFile[]): Promise<EmbeddedQueue> {
  const queue = open(directory, (each) => damaged.push(each));
  await untilDamaged(queue, damaged);
  return queue;
}

/** Uses the queue, as a poller does, until it has found the damage: each try that fails is the last one on the old file. */
async function untilDamaged(queue: EmbeddedQueue, damaged: readonly DamagedFile[]): Promise<void> {
  for (let tries = 0; damaged.length === 0 && tries < 20; tries++) {
    await receive(queue).catch(() => {});
    await queue.send([message({ body: "lost" })]).catch(() => {});
  }
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}
