import { closeSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { createDirectory } from "./directory.ts";

// An import would fail on an older Node before node-version.ts can report it.
const sqlite = process.getBuiltinModule("node:sqlite");

/** Another process holds the directory. */
export class DirectoryInUseError extends Error {
  readonly code = "DIRECTORY_IN_USE";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DirectoryInUseError";
  }
}

const sqliteBusy = 5;

/**
 * Sole use of a directory among all processes of this machine, and of all machines and containers that share its file system.
 * SQLite asks the operating system for the lock, so the lock ends with its process, however that ends, and no process id that
 * is used again can hold it. The locked file stays empty: it cannot be damaged, and a full disk does not matter.
 */
export class DirectoryLock {
  readonly #database: DatabaseSync;

  /**
   * Creates a missing directory. Throws `DirectoryInUseError` if it is locked, and the errors of the file system.
   *
   * @param holder what this process is, for the message that others get
   * @param advice what to do if another process has the lock, for the message of the error
   * @param name of the lock's files, `NAME.db` and `NAME.holder`: locks of different names are independent
   */
  static take(directory: string, holder: string, advice: string, name = "lock"): DirectoryLock {
    createDirectory(directory);
    const path = join(directory, `${name}.db`);
    const holderPath = join(directory, `${name}.holder`);
    createEmpty(path);
    let database: DatabaseSync | undefined;
    try {
      database = new sqlite.DatabaseSync(path, { timeout: 0 });
      // Reserves the file for writing, and never writes. With its journal in memory it needs no space on the disk.
      database.exec("PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE");
    } catch (error) {
      database?.close();
      const { code, errcode, message } = error as Error & { readonly code?: string; readonly errcode?: number };
      if (errcode !== sqliteBusy) throw Object.assign(new Error(`${path} cannot be locked: ${message}`), { code });
      throw new DirectoryInUseError(`${directory} is in use by ${readHolder(holderPath)}: ${advice}`, { cause: error });
    }
    writeHolder(holderPath, holder);
    return new DirectoryLock(database);
  }

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Has no effect the second time. The files stay: another process may be locking them at this moment. */
  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

/** Others read the holder's details for their error message. They are missing if the disk is full. */
function writeHolder(path: string, holder: string): void {
  const since = new Date().toISOString();
  try {
    writeFileSync(`${path}.new`, JSON.stringify({ pid: process.pid, machine: hostname(), holder, since }), {
      mode: 0o600,
    });
    renameSync(`${path}.new`, path);
  } catch {
    // The lock holds without them.
  }
}

function readHolder(path: string): string {
  try {
    const { pid, machine, holder, since } = JSON.parse(readFileSync(path, "utf8"));
    const elsewhere = machine === hostname() ? "" : ` on ${machine}`;
    return `process ${pid}${elsewhere} (${holder}, since ${since})`;
  } catch {
    return "another process";
  }
}

function createEmpty(path: string): void {
  try {
    // wx: opening and closing an existing file would release this process's lock on it.
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
