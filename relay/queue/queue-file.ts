import { statfsSync, statSync } from "node:fs";
import { type MachineClock, machineClock, simulatedMachine } from "../process/machine-clock.ts";
import { SqliteFile } from "../sqlite.ts";
import { DamagedFileGuard, type OnDamaged } from "./damaged-file.ts";
import { queueFile } from "./names.ts";
import { QueueError } from "./port.ts";
import { adopt, schema, sql } from "./queue-sql.ts";

export interface QueueFileOptions {
  /** Created if it is missing, readable by its owner only. */
  readonly directory: string;
  /** A name as SQS allows it: up to 80 letters, digits, `-` and `_`. */
  readonly name: string;
  /** Default 4 days. Older messages are removed, even if never received. A dead letter ages from when it was given up. */
  readonly retentionMs?: number;
  /** The most that the file and its WAL may have for messages to enter the queue; by default only the disk is a limit. */
  readonly maxBytes?: number;
  /** For tests and simulations: stands for both clocks of the machine, in milliseconds since 1970. */
  readonly now?: () => number;
  /** Default: that of this machine. */
  readonly machine?: MachineClock;
  /** Called after a damaged file was set aside; an empty one has taken its place. Without it, a damaged file is only an error. */
  readonly onDamaged?: OnDamaged;
}

export interface MessageRow {
  readonly id: number;
  readonly requests: number;
  /** By the wall clock: for people. */
  readonly sentAtMs: number;
  /** By the clock of the file, like all times but `sentAtMs`. */
  readonly enteredAtMs: number;
  readonly receives: number;
  readonly reason: string | null;
  readonly body: string;
  readonly pack: Uint8Array;
  /** 1 if a version without the clock of the file wrote it: `since` in its body is by a wall clock. */
  readonly adopted: number;
}

const fourDaysMs = 345_600_000;
// 16 KiB pages: a pack of 64 KB is a chain of 5 pages instead of 16, which makes sending and deleting twice as fast.
const pageBytes = 16_384;

// A message that was deleted is in no file after this time, unless other processes keep the WAL in use, or more is deleted
// than leaves the file in the meantime: 8 MiB each time.
const scrubMs = 2_000;
const scrubRetryMs = 500;
// How long closing may take: systemd ends what does not end, and senders wait meanwhile. The next process does the rest.
const lastScrubMs = 500;
// A file of an older version with at most this much in it is rewritten when it is opened.
const maxRewrittenBytes = 64 * 1024 * 1024;
// What queues leave to the other programs of a machine: above all HAProxy and its logs.
const reserveShare = 0.05;
const maxReserveBytes = 1024 * 1024 * 1024;

/** The open file of a queue: its statements, and the receivers that wait for a change. */
export class QueueFile {
  readonly name: string;
  readonly retentionMs: number;
  readonly maxBytes: number;
  readonly #directory: string;
  readonly #machine: MachineClock;
  readonly #guard: DamagedFileGuard<File>;
  readonly #waiting = new Set<() => void>();
  #scrubbing: NodeJS.Timeout | undefined;
  /** Whether this object has left deleted messages in the file. */
  #unclean = false;

  constructor({
    directory,
    name,
    retentionMs = fourDaysMs,
    maxBytes = Number.POSITIVE_INFINITY,
    now,
    machine = now ? simulatedMachine(now) : machineClock,
    onDamaged,
  }: QueueFileOptions) {
    if (!/^[\w-]{1,80}$/.test(name)) {
      throw new QueueError(
        "BAD_ARGUMENT",
        `queue name "${name}" is not valid: use 1 to 80 letters, digits, "-" and "_"`,
      );
    }
    this.name = name;
    this.retentionMs = retentionMs;
    this.maxBytes = maxBytes;
    this.#directory = directory;
    this.#machine = machine;
    const open = () =>
      new SqliteFile({
        machine,
        directory,
        file: queueFile(name),
        pragmas: `PRAGMA page_size = ${pageBytes}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA wal_autocheckpoint = 256; PRAGMA secure_delete = FAST`,
        schema,
        sql,
        adopt,
        toError: (message, options) => new QueueError("UNAVAILABLE", `queue ${name}: ${message}`, options),
      });
    this.#guard = new DamagedFileGuard({ directory, queue: name, file: queueFile(name), open, onDamaged });
    this.#eraseOldRemains();
    // A process that was killed, or had to end soon, may have left messages that it had deleted.
    this.#scrubIn(scrubMs);
  }

  get closed(): boolean {
    return this.#guard.closed;
  }

  /** By the clock of the file. */
  nowMs(): number {
    return this.#guard.file.nowMs();
  }

  /** By the wall clock. */
  wallMs(): number {
    return Math.floor(this.#machine.wallMs());
  }

  read<T>(look: (statements: Statements, nowMs: number) => T): T {
    return this.#guard.use((file) => file.guard(() => look(file.statements, file.nowMs())));
  }

  transaction(work: (statements: Statements, nowMs: number) => void): void {
    this.#guard.use((file) => file.transaction(() => work(file.statements, file.nowMs())));
    this.#guard.assertInPlace();
  }

  /** What the file and its WAL occupy, without the pages that the next messages will use. */
  usedBytes(): number {
    // With the pages that are only in the WAL yet: the next checkpoint copies them, and the WAL keeps its size.
    const pages = this.read(({ allPages, freePages }) => {
      return Number(allPages.get()?.page_count) - Number(freePages.get()?.freelist_count);
    });
    const { file } = this.#guard;
    const wal = file.guard(() => statSync(`${file.path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
    return pages * pageBytes + wal;
  }

  /** Why messages of this size may not enter the queue; undefined if they may. */
  findExcess(bytes: number): string | undefined {
    const used = this.usedBytes();
    if (used + bytes > this.maxBytes) {
      return `is full: it has ${toMiB(used)}, and its share of queue.maxBytes is ${toMiB(this.maxBytes)}; requests are dropped until some in it are done. If they wait because a target is paused or away, resume it, or raise queue.maxBytes`;
    }
    const { blocks, bsize, bavail } = this.#guard.file.guard(() => statfsSync(this.#directory));
    const reserve = Math.min(maxReserveBytes, blocks * bsize * reserveShare);
    if (bavail * bsize - bytes < reserve) {
      return `may not use the last ${toMiB(reserve)} of the disk: requests are dropped until there is more room in ${this.#directory}`;
    }
    return undefined;
  }

  /** Resolves when all earlier transactions of this object survive a power failure. Rejects with `QueueError`. */
  sync(): Promise<void> {
    return this.#guard.file.sync();
  }

  /** Removes some of the messages that are too old. Call it within a transaction. */
  expire({ expire, noteExpired }: Statements, lane: number, nowMs: number): void {
    const removed = expire.all(lane, nowMs - this.retentionMs);
    if (removed.length === 0) return;
    const requests = removed.reduce((sum, row) => sum + Number(row.requests), 0);
    noteExpired.run(removed.length, requests, lane);
    this.scrubSoon();
  }

  /** Call it while nothing happens: otherwise the clock of the file does not go on. */
  noteTime(): void {
    this.#guard.use((file) => file.noteTime());
  }

  /**
   * Call it after messages were deleted. SQLite overwrites what is left of them in pages that others use (`secure_delete`). The
   * pages that only they used are free: to overwrite these at once would cost half of the throughput, and the next messages use
   * most of them at a steady load. The others leave the file within seconds, and old pages leave the WAL.
   */
  scrubSoon(): void {
    this.#unclean = true;
    this.#scrubIn(scrubMs);
  }

  #scrubIn(ms: number): void {
    this.#scrubbing ??= setTimeout(() => {
      this.#scrubbing = undefined;
      if (!this.closed && !this.#scrub()) this.#scrubIn(scrubRetryMs);
    }, ms).unref();
  }

  /**
   * Returns false if there is more to do.
   *
   * @param ms how long to go on, and to wait for others, which blocks the event loop; by default only for one piece
   */
  #scrub(ms = 0): boolean {
    const endMs = performance.now() + ms;
    try {
      return this.#guard.use((file) => {
        const { vacuumSome, freePages } = file.statements;
        // Each piece in a transaction of its own: others may write in between.
        const freeSome = () =>
          file.guard(() => {
            vacuumSome.all();
            return Number(freePages.get()?.freelist_count);
          });
        let left = freeSome();
        while (left > 0 && performance.now() < endMs) left = freeSome();
        const clean = file.emptyWal(Math.max(0, Math.round(endMs - performance.now()))) && left === 0;
        if (clean) this.#unclean = false;
        return clean;
      });
    } catch {
      // The next call of a method reports it; a timer that throws would end the process.
      return false;
    }
  }

  /** Versions that did not overwrite deleted messages have left them in free pages, and between the messages of other pages. */
  #eraseOldRemains(): void {
    try {
      this.read(({ version, allPages, freePages, rewrite, noteVersion }) => {
        if (version.get()?.user_version !== 0) return;
        const live = Number(allPages.get()?.page_count) - Number(freePages.get()?.freelist_count);
        // Rewriting takes as long as copying the messages. In a larger file, those between other messages stay until these go.
        // Its free pages leave it like those of new messages.
        if (live * pageBytes <= maxRewrittenBytes) rewrite.run();
        noteVersion.run();
        this.#unclean = true;
      });
    } catch (error) {
      // Another process uses the file: whoever opens it next tries again.
      if (!(error instanceof QueueError)) throw error;
    }
  }

  /** Resolves at a change made through this object, when the signal is aborted, or after `ms` at the latest. */
  change(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
      this.#waiting.add(done);
    });
  }

  wake(): void {
    for (const done of this.#waiting) done();
  }

  close(): void {
    // A command that has only looked leaves this to the host: it would make senders wait.
    if (this.#unclean && !this.closed) this.#scrub(lastScrubMs);
    clearTimeout(this.#scrubbing);
    this.#guard.close();
    this.wake();
  }
}

function toMiB(bytes: number): string {
  return `${Math.round(bytes / (1024 * 1024))} MiB`;
}

type File = SqliteFile<keyof typeof sql>;
type Statements = File["statements"];
