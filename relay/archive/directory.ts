import { randomUUID } from "node:crypto";
import { mkdirSync, opendirSync, readdirSync, rmSync, statSync } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isMissing, toDirectoryError } from "./directory-error.ts";
import { linkOrRename, syncDirectory, writeDurably } from "./durable-file.ts";
import {
  type ArchiveEntry,
  ArchiveError,
  type ArchiveRange,
  assertName,
  assertSize,
  isInRange,
  isName,
  type OpenArchive,
  toConflict,
} from "./port.ts";

// Unfinished files. No part of a name begins with a dot, so nobody takes them for objects.
const unfinishedDirectory = ".unfinished";
// What a process has not finished in a day it never will.
const unfinishedMs = 86_400_000;
// Directories that another process removes as empty while a file is on its way into them.
const maxTries = 5;
const statsAtOnce = 64;

/**
 * A directory with a file an object, made if it is missing, readable by its owner only. Any number of processes may use it
 * at the same time. What is stored outlives the loss of the machine's power.
 */
export class DirectoryArchive implements OpenArchive {
  readonly #root: string;
  readonly #unfinished: string;

  /** Removes what processes that died left unfinished more than a day ago. Throws `ArchiveError`. */
  static open(directory: string): DirectoryArchive {
    const archive = new DirectoryArchive(directory);
    try {
      mkdirSync(archive.#unfinished, { recursive: true, mode: 0o700 });
      archive.#sweep();
    } catch (error) {
      throw toDirectoryError(error, directory);
    }
    return archive;
  }

  /** Makes nothing in it, so that nobody has to own it: one that is not there holds nothing. Throws `ArchiveError`. */
  static openToRead(directory: string): DirectoryArchive {
    try {
      opendirSync(directory).closeSync();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw toDirectoryError(error, directory);
    }
    return new DirectoryArchive(directory);
  }

  private constructor(directory: string) {
    this.#root = directory;
    this.#unfinished = join(directory, unfinishedDirectory);
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    assertName(name);
    assertSize(name, bytes.length);
    await this.#guard(async () => {
      if ((await this.#sizeOf(name)) !== undefined) return this.#assertSame(name, bytes);
      const unfinished = join(this.#unfinished, randomUUID());
      try {
        await writeDurably(unfinished, bytes);
        if (!(await this.#place(unfinished, this.#pathOf(name)))) await this.#assertSame(name, bytes);
      } finally {
        await rm(unfinished, { force: true });
      }
    });
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    assertName(name);
    return this.#guard(async () => {
      const file = await openIfThere(this.#pathOf(name));
      if (!file) return undefined;
      try {
        const stats = await file.stat();
        if (!stats.isFile()) return undefined;
        assertSize(name, stats.size);
        return await file.readFile();
      } finally {
        await file.close();
      }
    });
  }

  /** Reads only directories that names of the range can be in. */
  async *list(range: ArchiveRange): AsyncGenerator<ArchiveEntry> {
    let left = range.max ?? Number.POSITIVE_INFINITY;
    if (left <= 0) return;
    for await (const names of this.#runs("", range)) {
      const entries = await this.#guard(() => this.#entriesOf(names.slice(0, left)));
      yield* entries;
      left -= entries.length;
      if (left <= 0) return;
    }
  }

  async delete(names: readonly string[]): Promise<void> {
    names.forEach(assertName);
    await this.#guard(async () => {
      const directories = new Set<string>();
      for (const name of names) {
        const path = this.#pathOf(name);
        if (await removeFile(path)) directories.add(dirname(path));
      }
      for (const directory of directories) await this.#removeEmpty(directory);
    });
  }

  close(): void {}

  #pathOf(name: string): string {
    return join(this.#root, name);
  }

  /** The names below a directory in order, some at once. */
  async *#runs(directory: string, range: ArchiveRange): AsyncGenerator<readonly string[]> {
    let run: string[] = [];
    for (const child of await this.#guard(() => readSorted(join(this.#root, directory)))) {
      const name = directory + child;
      if (!isName(name.replace(/\/$/, ""))) continue;
      if (child.endsWith("/") && mayHold(name, range)) {
        if (run.length > 0) yield run;
        run = [];
        yield* this.#runs(name, range);
      } else if (!child.endsWith("/") && isInRange(name, range)) {
        run.push(name);
        if (run.length < statsAtOnce) continue;
        yield run;
        run = [];
      }
    }
    if (run.length > 0) yield run;
  }

  /** Without those that have gone meanwhile. */
  async #entriesOf(names: readonly string[]): Promise<readonly ArchiveEntry[]> {
    const sizes = await Promise.all(names.map((name) => this.#sizeOf(name)));
    return names.flatMap((name, i) => {
      const bytes = sizes[i];
      return bytes === undefined ? [] : [{ name, bytes }];
    });
  }

  async #sizeOf(name: string): Promise<number | undefined> {
    try {
      const stats = await lstat(this.#pathOf(name));
      return stats.isFile() ? stats.size : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #assertSame(name: string, bytes: Uint8Array): Promise<void> {
    const there = await this.get(name);
    if (!there) throw new ArchiveError("UNAVAILABLE", `${name} is a directory, or is being deleted: try again`);
    if (Buffer.compare(there, bytes) !== 0) throw toConflict(name);
  }

  /** False where the name is taken. */
  async #place(unfinished: string, path: string): Promise<boolean> {
    const directory = dirname(path);
    for (let tries = 1; ; tries++) {
      let made: string | undefined;
      try {
        // It fails, too, where a directory goes that it has just found or made.
        made = await mkdir(directory, { recursive: true, mode: 0o700 });
        if (!(await linkOrRename(unfinished, path))) return false;
      } catch (error) {
        if (!isMissing(error) || tries === maxTries) throw error;
        continue;
      }
      // Each directory that is new is an entry of the one above it; one that failed may have made any of them.
      const highest = tries > 1 ? this.#root : made === undefined ? directory : dirname(made);
      for (let at = directory; ; at = dirname(at)) {
        await syncDirectory(at);
        if (at === highest || at === dirname(at)) return true;
      }
    }
  }

  async #removeEmpty(directory: string): Promise<void> {
    for (let at = directory; at !== this.#root && at.startsWith(this.#root); at = dirname(at)) {
      try {
        await rmdir(at);
      } catch (error) {
        const { code = "" } = error as NodeJS.ErrnoException;
        // Not empty, removed by another process, or a link, which stays.
        if (["ENOTEMPTY", "EEXIST", "EBUSY", "ENOENT", "ENOTDIR"].includes(code)) return;
        throw error;
      }
    }
  }

  #sweep(): void {
    const oldestMs = Date.now() - unfinishedMs;
    for (const file of readdirSync(this.#unfinished)) {
      const path = join(this.#unfinished, file);
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats && stats.mtimeMs < oldestMs) rmSync(path, { force: true });
    }
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toDirectoryError(error, this.#root);
    }
  }
}

/** Whether names that begin with `start` can be in the range. */
function mayHold(start: string, { prefix, from = "", until }: ArchiveRange): boolean {
  if (!start.startsWith(prefix) && !prefix.startsWith(start)) return false;
  if (until !== undefined && start >= until) return false;
  return start >= from || from.startsWith(start);
}

/** Its files, and its directories with a slash behind: so `a-b` stands before what is in `a/`, `a.b` too. */
async function readSorted(path: string): Promise<readonly string[]> {
  try {
    const names: string[] = [];
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.isFile()) names.push(entry.name);
      else if (entry.isDirectory() || (entry.isSymbolicLink() && (await leadsToDirectory(join(path, entry.name))))) {
        names.push(`${entry.name}/`);
      }
    }
    return names.sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** What is put below a link to a directory has to be found there. */
async function leadsToDirectory(link: string): Promise<boolean> {
  try {
    return (await stat(link)).isDirectory();
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === "ELOOP") return false;
    throw error;
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** False where there was none. */
async function removeFile(path: string): Promise<boolean> {
  try {
    await rm(path);
    return true;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    // A directory of that name holds other objects.
    if (isMissing(error) || code === "ERR_FS_EISDIR" || code === "EISDIR") return false;
    throw error;
  }
}
