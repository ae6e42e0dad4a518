import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { DirectoryInUseError, DirectoryLock } from "../../../relay/process/directory-lock.ts";
import { type DamagedFile, DamagedFileGuard, damagedFilesOf } from "../../../relay/queue/damaged-file.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { QueueError } from "../../../relay/queue/port.ts";
import { SqliteFile } from "../../../relay/sqlite.ts";
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

describe("a damaged file that cannot be set aside", () => {
  it.skipIf(process.getuid?.() !== 0).each([
    ["a call", async (queue: EmbeddedQueue) => await expect(receive(queue)).rejects.toMatchObject(unavailable)],
    ["the end", (queue: EmbeddedQueue) => queue.close()],
  ])("because its directory is read-only ends no process: found by %s", async (_, use) => {
    const directory = await filled();
    const damaged: DamagedFile[] = [];
    const queue = open(directory, (each) => damaged.push(each));
    await queue.delete((await receive(queue)).map(({ receipt }) => receipt));
    damageBehindCache(join(directory, file));
    await asNobody(directory, () => use(queue));

    expect(damaged).toEqual([]);
    expect(damagedFilesOf(directory, "q")).toEqual([]);
    await openUsable(directory, damaged);
    expect(damaged).toHaveLength(1);
  });

  it("because five were within an hour stays, and the error says so", async () => {
    const directory = await filled();
    const damaged: DamagedFile[] = [];
    for (let i = 0; i < 5; i++) {
      overwrite(join(directory, file), 0, Buffer.alloc(100));
      open(directory, (each) => damaged.push(each)).close();
    }
    overwrite(join(directory, file), 0, Buffer.alloc(100));
    const openSixth = () => open(directory, (each) => damaged.push(each));
    expect(openSixth).toThrow(
      expect.objectContaining({
        ...unavailable,
        message: `queue q: file is not a database; 5 files of it were set aside within an hour, so this one stays: check the disk of ${directory}`,
      }),
    );
    expect(damaged).toHaveLength(5);

    const [first] = damaged;
    renameSync(first.file, first.file.replace(/damaged-\d{4}/, "damaged-2001"));
    openSixth();
    expect(damaged).toHaveLength(6);
  });
});

describe("DamagedFileGuard", () => {
  const damage = Object.assign(new Error("damage"), { errcode: 11 });
  const find = (guard: Guard, before = () => {}) =>
    expect(() =>
      guard.use(() => {
        before();
        throw damage;
      }),
    ).toThrow(damage);

  it("leaves the successor in place that another process has created meanwhile", () => {
    const { openGuard, damaged } = guards();
    const [one, other] = [openGuard(), openGuard()];
    find(one, () => find(other));

    expect(damaged).toHaveLength(1);
    expect([one, other].map(({ file: { moved } }) => moved)).toEqual([false, false]);
  });

  it("says that what was just stored is in a file that another process has set aside", () => {
    const { openGuard } = guards();
    const [one, other] = [openGuard(), openGuard()];
    one.use(() => find(other));

    expect(() => one.assertInPlace()).toThrow(QueueError);
    one.use(() => {});
    one.assertInPlace();
  });

  it("creates a successor later if that failed at first", () => {
    const { openGuard, damaged, state } = guards();
    const [one, other] = [openGuard(), openGuard()];
    state.disk = "away";
    expect(() => find(one)).toThrow();
    expect(damaged).toHaveLength(1);
    expect(() => other.use(() => {})).toThrow(expect.objectContaining({ message: "queue q: EIO" }));

    state.disk = "there";
    for (const guard of [one, other]) guard.use((each) => expect(each.moved).toBe(false));
  });

  it("is not created again in a directory that somebody has deleted", async () => {
    const directory = join(temporaryDirectory(), "data");
    const queue = EmbeddedQueue.open({ directory, name: "q", onDamaged: () => {} });
    onTestFinished(() => queue.close());
    rmSync(directory, { recursive: true });

    await expect(queue.send([message({})])).rejects.toThrow("was deleted while it was used");
    expect(existsSync(directory)).toBe(false);
  });

  it("opens a file under the lock, so that nobody sets it aside meanwhile", () => {
    const { openGuard, state } = guards();
    const [one, other] = [openGuard(), openGuard()];
    find(one);
    other.use(() => {});

    // Created by the first, opened by the second, replaced by the first, followed by the second.
    expect(state.openedLocked).toEqual([true, true, true, true]);
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

type Guard = DamagedFileGuard<SqliteFile<never>>;

function guards() {
  const directory = temporaryDirectory();
  const damaged: DamagedFile[] = [];
  const state = { disk: "there", openedLocked: [] as boolean[] };
  const openFile = () => {
    if (state.disk === "away") throw Object.assign(new Error("EIO"), { syscall: "open" });
    state.openedLocked.push(isLocked(directory));
    const toError = (text: string) => new QueueError("UNAVAILABLE", text);
    return new SqliteFile<never>({ directory, file, pragmas: "PRAGMA page_size = 4096", schema: "", sql: {}, toError });
  };
  const openGuard = (): Guard => {
    const onDamaged = (each: DamagedFile) => damaged.push(each);
    const guard = new DamagedFileGuard({ directory, queue: "q", file, open: openFile, onDamaged });
    onTestFinished(() => guard.close());
    return guard;
  };
  return { openGuard, damaged, state };
}

function isLocked(directory: string): boolean {
  try {
    DirectoryLock.take(directory, "test", "", "queues-lock").release();
    return false;
  } catch (error) {
    if (!(error instanceof DirectoryInUseError)) throw error;
    return true;
  }
}

const unavailable = { name: "QueueError", code: "UNAVAILABLE" };

/** Damages all pages but the first, and makes the connections forget what they have read. */
function damageBehindCache(path: string): void {
  const other = new DatabaseSync(path);
  other.exec("PRAGMA wal_checkpoint(TRUNCATE); CREATE TABLE other (a); PRAGMA wal_checkpoint(TRUNCATE)");
  overwrite(path, pageBytes, Buffer.alloc(statSync(path).size - pageBytes, 0xa5));
  other.close();
}

/** Runs `work` as a user who may write to the files of a directory, but not rename them. */
async function asNobody(directory: string, work: () => unknown): Promise<void> {
  const nobody = 65_534;
  for (const name of readdirSync(directory)) chownSync(join(directory, name), nobody, nobody);
  chownSync(directory, nobody, nobody);
  chmodSync(directory, 0o500);
  process.seteuid?.(nobody);
  try {
    await work();
  } finally {
    process.seteuid?.(0);
    chmodSync(directory, 0o700);
  }
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}
