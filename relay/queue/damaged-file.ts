import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
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
const lockTries = 100;
const pauseMs = 10;
const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Keeps the file of a queue usable: sets it aside if it is damaged, and opens its successor if another process has set it aside.
 * A damaged file is renamed, never deleted: `NAME.damaged-TIME`.
 */
export class DamagedFileGuard<File extends Pick<SqliteFile<string>, "path" | "moved" | "closed" | "close">> {
  readonly #options: DamagedFileGuardOptions<File>;
  readonly #path: string;
  #file: File;

  constructor(options: DamagedFileGuardOptions<File>) {
    this.#options = options;
    this.#path = join(options.directory, options.file);
    this.#file = this.#open();
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
    const inode = inodeOf(this.#path);
    try {
      return work(this.#file);
    } catch (error) {
      if (!isDamage(error) || !this.#setAside(inode, error as Error)) throw error;
      const damaged = this.#file;
      this.#file = this.#open();
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
    // Nobody sets a file aside without a successor: somebody deletes the directory.
    if (!existsSync(this.#path)) {
      throw this.#toError(`${this.#path} was deleted while it was used: stop agent and host before you delete it`);
    }
    const old = this.#file;
    this.#file = this.#open();
    old.close();
  }

  #open(): File {
    const inode = inodeOf(this.#path);
    try {
      return inode === undefined ? this.#locked(() => this.#options.open()) : this.#options.open();
    } catch (error) {
      if (!isDamage(error) || !this.#setAside(inode, error as Error)) throw error;
      return this.#locked(() => this.#options.open());
    }
  }

  /** Returns false if damaged files stay where they are. */
  #setAside(inode: bigint | undefined, { message }: Error): boolean {
    const { queue, onDamaged } = this.#options;
    if (!onDamaged) return false;
    const aside = `${this.#path}${asideMark}${new Date().toISOString().replaceAll(":", "-")}`;
    const done = this.#locked(() => {
      // Another process has been faster.
      if (inode === undefined || inodeOf(this.#path) !== inode) return false;
      // Never a file with the WAL of another: first this one, and the successor's are created only under the lock.
      renameIfThere(`${this.#path}-wal`, `${aside}-wal`);
      renameSync(this.#path, aside);
      for (const end of ["-wal", "-shm"]) rmSync(this.#path + end, { force: true });
      syncDirectory(this.#options.directory);
      return true;
    });
    if (done) onDamaged({ queue, file: aside, reason: message });
    return true;
  }

  /** Runs `work` while no other process creates or sets aside a file of the directory. */
  #locked<T>(work: () => T): T {
    for (let tries = 1; ; tries++) {
      let lock: DirectoryLock;
      try {
        lock = DirectoryLock.take(this.#options.directory, "spoa-relay", "try again", "queues-lock");
      } catch (error) {
        if (!(error instanceof DirectoryInUseError)) {
          throw this.#toError((error as Error).message, { cause: error });
        }
        if (tries === lockTries) throw this.#toError(error.message, { cause: error });
        Atomics.wait(pause, 0, 0, pauseMs);
        continue;
      }
      try {
        return work();
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

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}
