import { closeSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { createDirectory, syncDirectory } from "./process/directory.ts";
import { FileClock } from "./process/file-clock.ts";
import { type MachineClock, machineClock } from "./process/machine-clock.ts";
import { WalSync } from "./process/wal-sync.ts";

// An import would fail on an older Node before node-version.ts can report it.
const sqlite = process.getBuiltinModule("node:sqlite");

export interface SqliteOptions<Name extends string> {
  /** Created if it is missing, readable by its owner only. */
  readonly directory: string;
  /** Created readable by its owner only, even if others may read the directory. */
  readonly file: string;
  /** Run before anything is written: settings such as the page size cannot be changed later. */
  readonly pragmas: string;
  /** Creates missing tables and indexes; run each time the file is opened. */
  readonly schema: string;
  /** The statements by name; each is prepared once. */
  readonly sql: Readonly<Record<Name, string>>;
  /** See `FileClock`; run after the schema. */
  readonly adopt?: readonly string[];
  /** Converts an error of SQLite or the file system into the port's error. */
  readonly toError: (message: string, options: ErrorOptions) => Error;
  /** Default: that of this machine. */
  readonly machine?: MachineClock;
}

// How long a process waits for another process that is writing.
const busyMs = 5_000;

/**
 * A SQLite file in WAL mode that any number of processes may open at the same time. A transaction survives the death of the
 * process when it is committed, and a power failure once `sync` has resolved after it. Whatever a power failure leaves is a state
 * that the file had: all transactions up to one of them.
 */
export class SqliteFile<Name extends string> {
  readonly path: string;
  readonly statements: Readonly<Record<Name, StatementSync>>;
  readonly #toError: SqliteOptions<Name>["toError"];
  readonly #database: DatabaseSync;
  readonly #inode: bigint;
  readonly #wal: WalSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #clock: FileClock;

  constructor({ directory, file, pragmas, schema, sql, adopt, toError, machine = machineClock }: SqliteOptions<Name>) {
    this.#toError = toError;
    this.path = join(directory, file);
    const { path } = this;
    const { database, clock, wal, inode } = this.guard(() => {
      createDirectory(directory);
      createPrivately(path);
      // Before it is opened: if it is replaced meanwhile, it counts as moved.
      const inode = inodeOf(path) ?? 0n;
      const opened = new sqlite.DatabaseSync(path, { timeout: busyMs });
      try {
        untilFree(() => opened.exec(`${pragmas}; PRAGMA journal_mode = WAL`));
        // NORMAL: syncs the WAL before pages are copied from it, and not in each commit: that would block the event loop.
        opened.exec("PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 8388608");
        opened.exec(`BEGIN IMMEDIATE; ${schema}`);
        const clock = new FileClock(opened, machine, adopt);
        opened.exec("COMMIT");
        const opening = new WalSync(`${path}-wal`);
        // The entries of both files.
        syncDirectory(directory);
        return { database: opened, clock, wal: opening, inode };
      } catch (error) {
        opened.close();
        throw error;
      }
    });
    this.#inode = inode;
    this.#wal = wal;
    const names = Object.keys(sql) as Name[];
    const prepare = (text: string) => this.guard(() => database.prepare(text));
    this.#database = database;
    this.#clock = clock;
    // IMMEDIATE takes the write lock at once: taking it later, at the first write, would fail instead of waiting.
    this.#begin = prepare("BEGIN IMMEDIATE");
    this.#commit = prepare("COMMIT");
    this.statements = Object.fromEntries(names.map((name) => [name, prepare(sql[name])])) as typeof this.statements;
  }

  get closed(): boolean {
    return !this.#database.isOpen;
  }

  /** The time by the file's own clock, see `FileClock`. */
  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** For how long the file has had that clock. */
  get clockAgeMs(): number {
    return this.#clock.ageMs;
  }

  /** Whether the file at `path` is no longer this one: somebody moved or deleted it. */
  get moved(): boolean {
    return this.guard(() => inodeOf(this.path)) !== this.#inode;
  }

  /** Runs `work`; if it fails because of the file, throws the port's error. */
  guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      const { code, syscall, message } = error as NodeJS.ErrnoException;
      const ofTheFile = code === "ERR_SQLITE_ERROR" || code === "ERR_INVALID_STATE" || syscall !== undefined;
      throw ofTheFile ? this.#toError(message, { cause: error }) : error;
    }
  }

  /** Runs `work` in one transaction, which is rolled back if it throws. */
  transaction<T>(work: () => T): T {
    return this.guard(() => {
      this.#begin.run();
      try {
        const result = work();
        this.#clock.note();
        this.#commit.run();
        this.#wal.noteCommit();
        return result;
      } catch (error) {
        // SQLite rolls back by itself if the disk is full.
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  /** Notes the time in the file if no transaction has done so for a minute. */
  noteTime(): void {
    this.guard(() => this.#clock.note());
  }

  /** Resolves when all earlier transactions of this object survive a power failure; calls at the same time share one write. */
  async sync(): Promise<void> {
    try {
      await this.#wal.sync();
    } catch (error) {
      this.guard(() => {
        throw error;
      });
    }
  }

  /**
   * Copies all transactions into the file and empties the WAL, which holds pages as they were before. Returns false if other
   * processes use the file at this moment.
   *
   * @param waitMs how long to wait for them, which blocks the event loop
   */
  emptyWal(waitMs = 0): boolean {
    return this.guard(() => {
      this.#database.exec(`PRAGMA busy_timeout = ${waitMs}`);
      try {
        return this.#database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.busy === 0;
      } finally {
        this.#database.exec(`PRAGMA busy_timeout = ${busyMs}`);
      }
    });
  }

  close(): void {
    if (this.closed) return;
    try {
      this.#clock.note(atCloseMs);
    } catch {
      // The disk is full, for example: the next run of the machine continues at an earlier time.
    }
    this.#database.close();
    this.#wal.close();
  }
}

/** Whether an error, or its cause, says that the content of a file is not what SQLite wrote. */
export function isDamage(error: unknown): boolean {
  const { errcode, cause } = error as { readonly errcode?: number; readonly cause?: unknown };
  // The lowest byte is the kind of error, the others say more.
  if (errcode !== undefined) return [sqliteCorrupt, sqliteNotADatabase].includes(errcode & 0xff);
  return cause !== undefined && isDamage(cause);
}

const sqliteCorrupt = 11;
const sqliteNotADatabase = 26;

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/**
 * Retries while another process holds the file: the switch to WAL mode, made by the first process, ignores the timeout.
 */
function untilFree(work: () => void): void {
  for (const endMs = performance.now() + busyMs; ; Atomics.wait(pause, 0, 0, pauseMs)) {
    try {
      return work();
    } catch (error) {
      const busy = (error as { readonly errcode?: number }).errcode === sqliteBusy;
      if (!busy || performance.now() > endMs) throw error;
    }
  }
}

const sqliteBusy = 5;
// A process that opens the file for a moment writes nothing.
const atCloseMs = 1_000;
const pauseMs = 10;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** Creates a missing file readable by its owner only. SQLite creates its WAL files with the same mode. */
function createPrivately(path: string): void {
  try {
    // wx: opening and closing an existing file would release this process's locks on it.
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
