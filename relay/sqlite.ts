import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { createDirectory } from "./process/directory.ts";
import { FileClock } from "./process/file-clock.ts";
import { type MachineClock, machineClock } from "./process/machine-clock.ts";

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
  /** Converts an error of SQLite or the file system into the port's error. */
  readonly toError: (message: string, options: ErrorOptions) => Error;
  /** Default: that of this machine. */
  readonly machine?: MachineClock;
}

// How long a process waits for another process that is writing.
const busyMs = 5_000;

/** A SQLite file in WAL mode that any number of processes may open at the same time. */
export class SqliteFile<Name extends string> {
  readonly statements: Readonly<Record<Name, StatementSync>>;
  readonly #toError: SqliteOptions<Name>["toError"];
  readonly #database: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #clock: FileClock;

  constructor({ directory, file, pragmas, schema, sql, toError, machine = machineClock }: SqliteOptions<Name>) {
    this.#toError = toError;
    const { database, clock } = this.guard(() => {
      createDirectory(directory);
      const path = join(directory, file);
      createPrivately(path);
      const opened = new sqlite.DatabaseSync(path, { timeout: busyMs });
      // NORMAL: commits survive the death of the process; a power failure can lose the last ones.
      untilFree(() => opened.exec(`${pragmas}; PRAGMA journal_mode = WAL`));
      opened.exec("PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 8388608");
      opened.exec(`BEGIN IMMEDIATE; ${schema}`);
      const clock = new FileClock(opened, machine);
      opened.exec("COMMIT");
      return { database: opened, clock };
    });
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

  close(): void {
    if (this.closed) return;
    try {
      this.#clock.note(atCloseMs);
    } catch {
      // The disk is full, for example: the next run of the machine continues at an earlier time.
    }
    this.#database.close();
  }
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
