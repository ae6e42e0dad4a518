import { randomUUID } from "node:crypto";
import { opendirSync, readdirSync, rmSync, statSync } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createDirectory } from "../process/directory.ts";
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
  type PutResult,
  toConflict,
} from "./port.ts";

// Directory of unfinished files. No part of an object's name begins with a dot, so these files are never listed.
const unfinishedDirectory = ".unfinished";
// A file that is unfinished for a day belongs to a process that died.
const unfinishedMs = 86_400_000;
// Attempts to place a file while other processes remove its directory because it is empty.
const maxTries = 5;
const statsAtOnce = 64;

/**
 * A directory with one file per object, readable by its owner only. Any number of processes may use it at the same
 * time. Stored objects survive a power failure.
 */
export class DirectoryArchive implements OpenArchive {
  readonly #root: string;
  readonly #unfinished: string;

  /**
   * Creates the directory if it is missing. Removes files that were left unfinished more than a day ago. Throws
   * `ArchiveError`.
   */
  static open(directory: string): DirectoryArchive {
    const archive = new DirectoryArchive(directory);
    try {
      createDirectory(archive.#unfinished);
      archive.#sweep();
    } catch (error) {
      throw toDirectoryError(error, directory);
    }
    return archive;
  }

  /**
   * Opens a directory that may be read-only: creates nothing in it. A missing directory counts as empty. Throws
   * `ArchiveError`.
   */
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

  async put(name: string, bytes: Uint8Array): Promise<PutResult> {
    assertName(name);
    assertSize(name, bytes.length);
    return this.#guard(async () => {
      if ((await this.#sizeOf(name)) !== undefined) {
        await this.#assertSame(name, bytes);
        return "existing";
      }
      const unfinished = join(this.#unfinished, randomUUID());
      try {
        await writeDurably(unfinished, bytes);
        if (await this.#place(unfinished, this.#pathOf(name))) return "stored";
        await this.#assertSame(name, bytes);
        return "existing";
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

  /** Reads only directories that can contain names of the range. */
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

  /** Yields the names below a directory in order, up to 64 at once. */
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

  /** Leaves out objects that were deleted in the meantime. */
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
    const existing = await this.get(name);
    if (!existing) throw new ArchiveError("UNAVAILABLE", `${name} is a directory, or is being deleted: try again`);
    if (Buffer.compare(existing, bytes) !== 0) throw toConflict(name);
  }

  /** Returns false if an object of that name exists. */
  async #place(unfinished: string, path: string): Promise<boolean> {
    const directory = dirname(path);
    for (let tries = 1; ; tries++) {
      let made: string | undefined;
      try {
        // mkdir also fails if another process removes a directory that mkdir just found or created.
        made = await mkdir(directory, { recursive: true, mode: 0o700 });
        if (!(await linkOrRename(unfinished, path))) return false;
      } catch (error) {
        if (!isMissing(error) || tries === maxTries) throw error;
        continue;
      }
      // A new directory is an entry of its parent, so sync every parent of a new directory. A failed try may have
      // created any of them, so after one sync up to the root.
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
        // The directory is not empty, was removed by another process, or is a link, which is kept.
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

/** Lists files, and directories with a trailing slash: then `a-b` and `a.b` sort before the objects in `a/`. */
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

/** Follows links to directories: objects that were put below such a link must be listed. */
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

/** Returns false if there was no such file. */
async function removeFile(path: string): Promise<boolean> {
  try {
    await rm(path);
    return true;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    // A directory of that name contains other objects.
    if (isMissing(error) || code === "ERR_FS_EISDIR" || code === "EISDIR") return false;
    throw error;
  }
}
