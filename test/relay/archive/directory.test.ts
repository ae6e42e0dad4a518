import { createHook } from "node:async_hooks";
import { mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { DirectoryArchive } from "../../../relay/archive/directory.ts";
import { describeArchive, namesOf } from "../../contract/archive-contract.ts";

const root = mkdtempSync(join(tmpdir(), "directory-archive-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describeArchive("DirectoryArchive", async () => DirectoryArchive.open(newDirectory()));

describe("DirectoryArchive", () => {
  it("is readable by its owner only", async () => {
    const directory = join(newDirectory(), "new");
    await DirectoryArchive.open(directory).put("a/b", Uint8Array.of(1));
    const modes = ["", "a", "a/b"].map((name) => (statSync(join(directory, name)).mode & 0o777).toString(8));

    expect(modes).toEqual(["700", "700", "600"]);
  });

  it("removes directories that became empty", async () => {
    const directory = newDirectory();
    const archive = DirectoryArchive.open(directory);
    await archive.put("a/b/c/1", Uint8Array.of(1));
    await archive.put("a/2", Uint8Array.of(1));

    await archive.delete(["a/b/c/1"]);

    expect(readdirSync(join(directory, "a"))).toEqual(["2"]);
  });

  it("loses no object if directories are removed as empty during puts", async () => {
    const archive = DirectoryArchive.open(newDirectory());
    const kept = Array.from({ length: 60 }, (_, i) => `a/b/kept-${String(i).padStart(2, "0")}`);
    const removing = (async () => {
      for (let i = 0; i < 60; i++) {
        await archive.put(`a/b/gone-${i}`, Uint8Array.of(1));
        await archive.delete([`a/b/gone-${i}`]);
      }
    })();
    for (const name of kept) {
      await archive.put(name, Uint8Array.of(1));
      await archive.delete([name]);
      await archive.put(name, Uint8Array.of(2));
    }
    await removing;

    expect(await namesOf(archive)).toEqual(kept);
  });

  it("stores objects in directories that other processes are removing as empty", async () => {
    const archive = DirectoryArchive.open(newDirectory());
    const found: boolean[] = [];
    const use = async (user: string) => {
      for (let i = 0; i < 60; i++) {
        await archive.put(`a/b/${user}-${i}`, Uint8Array.of(1));
        found.push((await archive.get(`a/b/${user}-${i}`)) !== undefined);
        await archive.delete([`a/b/${user}-${i}`]);
      }
    };
    await Promise.all(["x", "y", "z"].map(use));

    expect(found).toEqual(Array.from({ length: 180 }, () => true));
  });

  it("does not list unfinished or foreign files", async () => {
    const directory = newDirectory();
    const archive = DirectoryArchive.open(directory);
    await archive.put("a", Uint8Array.of(1));
    writeFileSync(join(directory, ".unfinished", "half"), "half");
    writeFileSync(join(directory, "not a name"), "");
    symlinkSync("/etc/hosts", join(directory, "link"));

    expect(await namesOf(archive)).toEqual(["a"]);
  });

  it("removes its unfinished file after a failure, and those of dead processes after a day", async () => {
    const directory = newDirectory();
    const archive = DirectoryArchive.open(directory);
    const [old, young] = ["old", "young"].map((name) => join(directory, ".unfinished", name));
    writeFileSync(old, "half");
    writeFileSync(young, "half");
    utimesSync(old, 1, 1);
    const now = new Date();
    // The file system may have another clock than the process.
    utimesSync(young, now, now);
    await archive.put("a/b", Uint8Array.of(1));
    await expect(archive.put("a/b/c", Uint8Array.of(1))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(archive.put("a", Uint8Array.of(1))).rejects.toMatchObject({ code: "UNAVAILABLE" });

    DirectoryArchive.open(directory);

    expect(readdirSync(join(directory, ".unfinished"))).toEqual(["young"]);
  });

  it("reads only the directories that the range needs", async () => {
    const archive = DirectoryArchive.open(newDirectory());
    for (let hour = 100; hour < 200; hour++) await archive.put(`c/${hour}/x`, Uint8Array.of(1));
    const ranges = [{ prefix: "c/", from: "c/150", until: "c/152" }, { prefix: "c/15" }, { prefix: "c/", max: 2 }];

    const all = await fileSystemCalls(() => namesOf(archive));
    const few: number[] = [];
    for (const range of ranges) few.push(await fileSystemCalls(() => namesOf(archive, range)));

    expect(all).toBeGreaterThan(200);
    expect(few.every((calls) => calls < 30)).toBe(true);
  });

  it("follows a link to a directory", async () => {
    const [directory, elsewhere] = [newDirectory(), newDirectory()];
    symlinkSync(elsewhere, join(directory, "a"));
    const archive = DirectoryArchive.open(directory);
    await archive.put("a/b/1", Uint8Array.of(1));
    await archive.put("a/2", Uint8Array.of(1));

    expect(await namesOf(archive)).toEqual(["a/2", "a/b/1"]);
    await archive.delete(["a/2", "a/b/1"]);
    expect(await namesOf(archive)).toEqual([]);
    expect(readdirSync(elsewhere)).toEqual([]);
    expect(readdirSync(directory)).toContain("a");
  });

  it("names a directory that cannot be used", () => {
    const file = join(newDirectory(), "file");
    writeFileSync(file, "");

    expect(() => DirectoryArchive.open(file)).toThrow(
      expect.objectContaining({ name: "ArchiveError", code: "UNAVAILABLE", message: expect.stringContaining(file) }),
    );
  });
});

function newDirectory(): string {
  return mkdtempSync(join(root, "a-"));
}

/** Counts calls to the file system. */
async function fileSystemCalls(work: () => Promise<unknown>): Promise<number> {
  let calls = 0;
  const hook = createHook({
    init: (_, type) => {
      if (type === "FSREQPROMISE") calls++;
    },
  }).enable();
  try {
    await work();
  } finally {
    hook.disable();
  }
  return calls;
}
