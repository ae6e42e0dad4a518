import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { DirectoryInUseError, DirectoryLock } from "../../../relay/process/directory-lock.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { ChildScript } from "../../support/processes/child-script.ts";

/** Starts a program as process 1 of its own, on the same file system, as in a container. */
const container = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
const canIsolate = spawnSync(container[0], [...container.slice(1), "true"]).status === 0;

describe("the lock of a directory", () => {
  it("is refused to others, with the directory, the process and its kind", async () => {
    const directory = join(temporaryDirectory(), "missing", "data");
    const holder = await hold(directory, "spoa-relay mirror");

    expect(() => DirectoryLock.take(directory, "another", "stop it")).toThrow(DirectoryInUseError);
    expect(() => DirectoryLock.take(directory, "another", "stop it")).toThrow(
      `${directory} is in use by process ${holder.process.pid} (spoa-relay mirror, since `,
    );
  });

  it("is free as soon as its process is killed, whatever the file says about the holder", async () => {
    const directory = temporaryDirectory();
    const holder = await hold(directory, "first");
    await holder.kill();
    // A process with this number runs: after a restart of the machine, numbers are used again.
    writeFileSync(join(directory, "lock.holder"), JSON.stringify({ pid: process.pid, holder: "first" }));

    expect((await hold(directory, "second")).lines).toEqual(["locked"]);
  });

  it.skipIf(!canIsolate)("holds between containers that share the directory, in which both are process 1", async () => {
    const directory = temporaryDirectory();
    const first = start(directory, "spoa-relay agent", container);
    await first.printed(1);
    const refused = start(directory, "spoa-relay agent", container);
    await refused.printed(1);
    // Kills the launcher, and with it process 1 of the container.
    await first.kill();
    const next = start(directory, "spoa-relay agent", container);
    await next.printed(1);

    expect(first.lines).toEqual(["locked"]);
    expect(refused.lines[0]).toContain(`${directory} is in use by process 1 `);
    expect(next.lines).toEqual(["locked"]);
  });

  it("is taken by exactly one of many processes that start together", async () => {
    const directory = temporaryDirectory();
    const started = Array.from({ length: 8 }, (_, i) => start(directory, `holder ${i}`));
    await Promise.all(started.map((child) => child.printed(1)));
    const lines = started.map((child) => child.lines[0]);

    expect(lines.filter((line) => line === "locked").length).toBe(1);
    expect(lines.filter((line) => line.startsWith(`${directory} is in use by `)).length).toBe(7);
  });

  it("is refused within the process that holds it, and free after its release", () => {
    const directory = temporaryDirectory();
    const lock = DirectoryLock.take(directory, "first", "stop it");
    expect(() => DirectoryLock.take(directory, "second", "stop it")).toThrow(DirectoryInUseError);
    lock.release();
    lock.release();

    expect(() => DirectoryLock.take(directory, "third", "stop it").release()).not.toThrow();
  });

  it("writes nothing into the locked file, which therefore needs no space and cannot be damaged", () => {
    const directory = temporaryDirectory();
    const lock = DirectoryLock.take(directory, "first", "stop it");
    onTestFinished(() => lock.release());

    expect(readdirSync(directory).sort()).toEqual(["lock.db", "lock.holder"]);
    expect(statSync(join(directory, "lock.db"))).toMatchObject({ size: 0 });
    expect(statSync(join(directory, "lock.db")).mode & 0o777).toBe(0o600);
  });

  it("does not exclude a lock of another name", () => {
    const directory = temporaryDirectory();
    const data = DirectoryLock.take(directory, "up", "stop it");
    onTestFinished(() => data.release());
    const journal = DirectoryLock.take(directory, "agent", "stop it", "journal-lock");
    onTestFinished(() => journal.release());

    expect(() => DirectoryLock.take(directory, "agent", "stop it", "journal-lock")).toThrow("(agent, since");
    expect(() => DirectoryLock.take(directory, "up", "stop it")).toThrow("(up, since");
  });

  it("names a file that cannot be locked", () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, "lock.db"));

    expect(() => DirectoryLock.take(directory, "first", "stop it")).toThrow(
      `${join(directory, "lock.db")} cannot be locked: unable to open database file`,
    );
  });

  it("does not need the details of its holder", () => {
    const directory = temporaryDirectory();
    const lock = DirectoryLock.take(directory, "first", "stop it");
    onTestFinished(() => lock.release());
    writeFileSync(join(directory, "lock.holder"), "half a li");

    expect(() => DirectoryLock.take(directory, "second", "stop it")).toThrow(
      `${directory} is in use by another process`,
    );
  });
});

async function hold(directory: string, holder: string): Promise<ChildScript> {
  const child = start(directory, holder);
  await child.printed(1);
  return child;
}

function start(directory: string, holder: string, launcher: readonly string[] = []): ChildScript {
  const child = new ChildScript("lock-holder.ts", [directory, holder], undefined, launcher);
  onTestFinished(() => child.kill());
  return child;
}
