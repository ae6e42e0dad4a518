import { closeSync, fdatasync, openSync } from "node:fs";
import { promisify } from "node:util";

const syncData = promisify(fdatasync);

/**
 * Makes the commits in the WAL of a SQLite file durable without blocking the event loop, as SQLite itself would. All that wait at
 * the same time share one sync. Opening and closing the WAL releases no lock: SQLite locks other files.
 */
export class WalSync {
  readonly #fd: number;
  #commits = 0;
  #synced = 0;
  #syncing: Promise<void> | undefined;
  #closed = false;

  constructor(path: string) {
    this.#fd = openSync(path, "r");
  }

  noteCommit(): void {
    this.#commits++;
  }

  /** Resolves when all commits noted before are durable. Rejects with the error of the file system. */
  async sync(): Promise<void> {
    const wanted = this.#commits;
    while (this.#synced < wanted && !this.#closed) {
      this.#syncing ??= this.#run().finally(() => {
        this.#syncing = undefined;
        if (this.#closed) closeSync(this.#fd);
      });
      await this.#syncing;
    }
  }

  /** Whoever closes the database first has copied the WAL into it, or leaves it to others. */
  close(): void {
    this.#closed = true;
    if (!this.#syncing) closeSync(this.#fd);
  }

  async #run(): Promise<void> {
    const upTo = this.#commits;
    await syncData(this.#fd);
    this.#synced = upTo;
  }
}
