import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { syncDirectory } from "../process/directory.ts";
import { DirectoryInUseError, DirectoryLock } from "../process/directory-lock.ts";
import { isDamage, type SqliteFile } from "../sqlite.ts";
import { queueFile } from "./names.ts";
import { QueueError } from "./port.ts";

/** A damaged file that was set aside. Can be posted to a thread. */
export interface DamagedFile {
  /** The queue whose messages were in it. */
  readonly queue: string;
  /** Its path now. */
  readonly file: string;
  /** What SQLite says about it. */
  readonly reason: string;
}

export type OnDamaged = (damaged: DamagedFile) => void;

/** The log line for a damaged file. */
export const damagedText =
  "the file of a queue is damaged: it was set aside, and an empty one takes its place; the requests in it are not delivered. " +
  "spoa-relay stats says how many the ledger misses, and sqlite3 FILE .recover reads what is left of it; then delete it: it holds requests";

/** The damaged files of a queue that were set aside in a directory and are still there. */
export function damagedFilesOf(directory: string, queue: string): readonly string[] {
  const start = `${queueFile(queue)}${asideMark}`;
  const names = readdirSync(directory).filter((name) => name.startsWith(start) && !name.endsWith("-wal"));
  return names.sort().map((name) => join(directory, name));
}

export interface DamagedFileGuardOptions<File> {
  readonly directory: string;
  readonly queue: string;
  readonly file: string;
  /** Opens the file, and creates it if it is missing. */
  readonly open: () => File;
  /** Without it, damaged files stay where they are. */
  readonly onDamaged: OnDamaged | undefined;
}

const asideMark = ".damaged-";
// So short that the calls of one process never wait for the lock of another for long.
const callTries = 100;
// A process that opens a file waits for another that is writing to it, and has the lock meanwhile.
const openTries = 600;
const pauseMs = 10;
const pause = new Int32Array(new SharedArrayBuffer(4));
// A disk that damages whatever is written would fill the directory: each file is replaced when it is damaged.
const maxAside = 5;
const asideWindowMs = 3_600_000;

/**
 * Keeps the file of a queue usable: sets it aside if it is damaged, and opens its successor if another process has set it aside.
 * A damaged file is renamed, never deleted: `NAME.damaged-TIME`. After 5 within an hour, the next one stays where it is.
 */
export class DamagedFileGuard<File extends Pick<SqliteFile<string>, "path" | "moved" | "closed" | "close">> {
  readonly #options: DamagedFileGuardOptions<File>;
  readonly #path: string;
  #file: File;

  /** Throws `QueueError`, like all methods. */
  constructor(options: DamagedFileGuardOptions<File>) {
    this.#options = options;
    this.#path = join(options.directory, options.file);
    this.#file = this.#locked(() => this.#open(), openTries);
  }

  get file(): File {
    return this.#file;
  }

  get closed(): boolean {
    return this.#file.closed;
  }

  /** Runs `work`. If the file turns out to be damaged, sets it aside and throws `QueueError`: the next call uses the new file. */
  use<T>(work: (file: File) => T): T {
    if (!this.closed && this.#file.moved) this.#follow();
    try {
      return work(this.#file);
    } catch (error) {
      const { onDamaged } = this.#options;
      if (!isDamage(error) || !onDamaged) throw error;
      const damaged = this.#file;
      this.#file = this.#locked(() => {
        // Another process may have been faster: its successor stays.
        if (!damaged.moved) this.#setAside(error as Error, onDamaged);
        return this.#open();
      });
      damaged.close();
      throw error;
    }
  }

  /** Throws `QueueError` if another process has set the file aside meanwhile: what was just stored has to be stored again. */
  assertInPlace(): void {
    if (this.#file.moved) throw this.#toError("its file was moved while it was used");
  }

  close(): void {
    this.#file.close();
  }

  #follow(): void {
    // Also before the lock is taken: that would create the directory again.
    this.#assertNotDeleted();
    const old = this.#file;
    this.#file = this.#locked(() => {
      this.#assertNotDeleted();
      return this.#open();
    });
    old.close();
  }

  #assertNotDeleted(): void {
    const { directory, queue } = this.#options;
    // Whoever sets a file aside may have failed to create its successor. Otherwise, somebody deletes the directory.
    if (existsSync(this.#path) || (existsSync(directory) && damagedFilesOf(directory, queue).length > 0)) return;
    throw this.#toError(`${this.#path} was deleted while it was used: stop agent and host before you delete it`);
  }

  /** Call it under the lock. */
  #open(): File {
    try {
      return this.#options.open();
    } catch (error) {
      const { onDamaged } = this.#options;
      if (!isDamage(error) || !onDamaged) throw error;
      this.#setAside(error as Error, onDamaged);
      return this.#options.open();
    }
  }

  /** Call it under the lock, and create the successor under the same one. */
  #setAside({ message }: Error, onDamaged: OnDamaged): void {
    const { directory, queue } = this.#options;
    const nowMs = Date.now();
    const asideAt = (ms: number) => `${this.#path}${asideMark}${toStamp(ms)}`;
    const [oldest, aside] = [asideAt(nowMs - asideWindowMs), asideAt(nowMs)];
    if (damagedFilesOf(directory, queue).filter((each) => each > oldest && each <= aside).length >= maxAside) {
      throw new QueueError(
        "UNAVAILABLE",
        `${message}; ${maxAside} files of it were set aside within an hour, so this one stays: check the disk of ${directory}`,
      );
    }
    // Never a file with the WAL of another: first this one.
    renameIfThere(`${this.#path}-wal`, `${aside}-wal`);
    renameSync(this.#path, aside);
    onDamaged({ queue, file: aside, reason: message });
    for (const end of ["-wal", "-shm"]) rmSync(this.#path + end, { force: true });
    syncDirectory(directory);
  }

  /**
   * Runs `work` while no other process opens or sets aside a file of the directory: SQLite opens the WAL by the name of its file,
   * so an opener that is overtaken would write to the WAL of the successor.
   */
  #locked<T>(work: () => T, maxTries = callTries): T {
    for (let tries = 1; ; tries++) {
      let lock: DirectoryLock;
      try {
        lock = DirectoryLock.take(this.#options.directory, "spoa-relay", "try again", "queues-lock");
      } catch (error) {
        if (!(error instanceof DirectoryInUseError)) {
          throw this.#toError((error as Error).message, { cause: error });
        }
        if (tries === maxTries) throw this.#toError(error.message, { cause: error });
        Atomics.wait(pause, 0, 0, pauseMs);
        continue;
      }
      try {
        return work();
      } catch (error) {
        // The disk is read-only or fails, for example.
        const { syscall, message } = error as NodeJS.ErrnoException;
        throw syscall === undefined ? error : this.#toError(message, { cause: error });
      } finally {
        lock.release();
      }
    }
  }

  #toError(message: string, options?: ErrorOptions): QueueError {
    return new QueueError("UNAVAILABLE", `queue ${this.#options.queue}: ${message}`, options);
  }
}

function renameIfThere(from: string, to: string): void {
  if (existsSync(from)) renameSync(from, to);
}

/** In the order of time when they are sorted. */
function toStamp(ms: number): string {
  return new Date(ms).toISOString().replaceAll(":", "-");
}
