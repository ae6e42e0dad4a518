import { readdirSync } from "node:fs";
import { join } from "node:path";
import { syncDirectory } from "../../relay/process/directory.ts";
import { DirectoryInUseError, DirectoryLock } from "../../relay/process/directory-lock.ts";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { encodeJournalRecord, JournalSegment } from "./journal-segment.ts";

export interface JournalOptions {
  /** Created if it is missing, readable by its owner only. Only one process at a time may use it. */
  readonly directory: string;
  /** Name and run of the agent: packs of other runs are recovered. */
  readonly run: string;
  /** Maximum size of all segments together. */
  readonly maxBytes: number;
  /** Which packs are dropped if there is no room: the oldest ones, or the new one. */
  readonly whenFull: "drop-oldest" | "drop-newest";
  /** Receives the number of held requests whose segment was removed to make room: they are now in memory only. */
  readonly onExposed: (requests: number) => void;
  /** Receives why a sync has failed: packs are still written, and survive a crash of the process. */
  readonly onUnsynced?: (reason: string) => void;
  /** Receives the number of requests lost to a full or damaged journal; `recovered` if another run wrote them. */
  readonly onLost: (reason: "journal full" | "journal damaged", requests: number, recovered: boolean) => void;
}

/** Counts of what an earlier process left in the journal. */
export interface Recovery {
  readonly packs: number;
  readonly requests: number;
  /** Records that are incomplete or have a wrong checksum; only these are lost. */
  readonly damaged: number;
}

/** Identifies a pack in the journal. */
export interface Ticket {
  readonly segment: JournalSegment;
  readonly index: number;
}

export class JournalError extends Error {
  readonly code = "JOURNAL_UNAVAILABLE";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "JournalError";
  }
}

// Small, so that disk space is freed soon, and few packs are sent twice after a crash.
const segmentBytes = 4 * 1024 * 1024;
// A power failure loses the packs of this time, and of the sync that follows it.
const syncEveryMs = 1_000;

/**
 * Keeps packs on disk until the queue has accepted them, in segment files that are deleted when all of their packs are
 * done. Packs that are done are erased at once. Appended packs survive a crash of the process. A power failure may lose those of
 * the last second: nothing waits for the disk.
 *
 * Methods throw `JournalError`.
 */
export class Journal {
  readonly recovery: Recovery;
  readonly #options: JournalOptions;
  readonly #lock: DirectoryLock;
  readonly #segments: JournalSegment[] = [];
  readonly #syncTimer: NodeJS.Timeout;
  #nextNumber = 1;
  #syncs = true;
  #bytes = 0;

  /** Opens the directory and recovers the packs that an earlier process left in it. */
  static open(options: JournalOptions): Journal {
    return guard(() => new Journal(options));
  }

  private constructor(options: JournalOptions) {
    this.#options = options;
    this.#lock = DirectoryLock.take(
      options.directory,
      "spoa-relay agent",
      "stop that agent, or choose another directory",
      // The journal may be in the data directory, which has a lock of its own.
      "journal-lock",
    );
    try {
      const damaged = this.#recover();
      const requests = this.#segments.reduce((sum, segment) => sum + segment.requestsIn("waiting"), 0);
      this.recovery = { packs: this.waiting, requests, damaged };
    } catch (error) {
      this.#lock.release();
      throw error;
    }
    this.#syncTimer = setInterval(() => void this.sync(), syncEveryMs).unref();
  }

  /** False if the last sync has failed: a power failure would lose the packs since. */
  get syncs(): boolean {
    return this.#syncs;
  }

  /** Size of the segments on disk. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Packs that are only on disk. */
  get waiting(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.waiting, 0);
  }

  /**
   * Writes a pack, which is held in memory until `release`. Returns undefined if there is no room for it, after it has
   * called `onLost`.
   */
  append(message: OutgoingMessage): Ticket | undefined {
    const record = encodeJournalRecord(message);
    return guard(() => {
      if (!this.#makeRoom(record.length)) {
        this.#options.onLost("journal full", message.requests, false);
        return undefined;
      }
      const segment = this.#segmentFor(record.length);
      const index = segment.append(record, message.requests);
      this.#bytes += record.length;
      return { segment, index };
    });
  }

  /**
   * Allows the pack to leave memory: `take` will read it from disk. Returns false if it must stay in memory, because
   * its segment was removed to make room.
   */
  release({ segment, index }: Ticket): boolean {
    return segment.release(index);
  }

  /** Reads the oldest pack that is only on disk; it is held in memory from now on. */
  take(): { readonly ticket: Ticket; readonly message: OutgoingMessage } | undefined {
    for (;;) {
      const segment = this.#segments.find(({ waiting }) => waiting > 0);
      if (!segment) return undefined;
      const { index, requests, message } = guard(() => segment.take());
      const ticket = { segment, index };
      if (message) return { ticket, message };
      this.#options.onLost("journal damaged", requests, this.isRecovered(ticket));
      this.done(ticket);
    }
  }

  /** Marks the pack as done, and frees the space of a segment without open packs. */
  done({ segment, index }: Ticket): void {
    guard(() => {
      segment.done(index);
      if (segment.open > 0 || !segment.kept) return;
      if (segment === this.#active()) this.#reset(segment);
      else this.#remove(segment);
    });
  }

  /** False if the pack is in memory only, because its segment was removed to make room. */
  keeps({ segment }: Ticket): boolean {
    return segment.kept;
  }

  /** True if another run of the agent wrote the pack. */
  isRecovered({ segment }: Ticket): boolean {
    return segment.run !== this.#options.run;
  }

  /** Resolves when the packs that were appended before survive a power failure, as far as the disk allows it. */
  async sync(): Promise<void> {
    const results = await Promise.allSettled(this.#segments.map((segment) => segment.sync()));
    const failed = results.find((result) => result.status === "rejected");
    this.#syncs = failed === undefined;
    if (failed) this.#options.onUnsynced?.(`agent.journal: ${(failed.reason as Error).message}`);
  }

  close(): void {
    clearInterval(this.#syncTimer);
    for (const segment of this.#segments.splice(0)) {
      if (segment.open === 0) segment.remove();
      else segment.close();
    }
    this.#lock.release();
  }

  #active(): JournalSegment | undefined {
    const last = this.#segments.at(-1);
    return last && !last.recovered && last.bytes < segmentBytes ? last : undefined;
  }

  #segmentFor(recordBytes: number): JournalSegment {
    const active = this.#active();
    if (active && active.bytes + recordBytes <= segmentBytes) return active;
    const name = `${String(this.#nextNumber).padStart(10, "0")}.seg`;
    const segment = JournalSegment.create(join(this.#options.directory, name), this.#options.run);
    this.#nextNumber++;
    this.#keep(segment);
    // Its entry; its content follows with the next sync. Once in 4 MiB, and not on the thread that acknowledges.
    syncDirectory(this.#options.directory);
    return segment;
  }

  #makeRoom(recordBytes: number): boolean {
    const { maxBytes, whenFull, run, onExposed, onLost } = this.#options;
    if (recordBytes > maxBytes) return false;
    while (this.#bytes + recordBytes > maxBytes) {
      const oldest = this.#segments[0];
      if (whenFull === "drop-newest" || !oldest) return false;
      const waitingRequests = oldest.requestsIn("waiting");
      const heldRequests = oldest.requestsIn("held");
      // Held packs are still sent from memory. Only packs that are just on disk are lost with their segment.
      this.#remove(oldest);
      if (heldRequests > 0 && oldest.run === run) onExposed(heldRequests);
      if (waitingRequests > 0) onLost("journal full", waitingRequests, oldest.run !== run);
    }
    return true;
  }

  /** Opens existing segments. A file that cannot be read counts as damaged and is left alone. */
  #recover(): number {
    const { directory } = this.#options;
    const files = readdirSync(directory).filter((name) => /^\d{10}\.seg$/.test(name));
    let damaged = 0;
    for (const file of files.sort()) {
      this.#nextNumber = Number(file.slice(0, 10)) + 1;
      try {
        const found = JournalSegment.recover(join(directory, file));
        damaged += found.damaged;
        if (found.segment.open === 0) found.segment.remove();
        else this.#keep(found.segment);
      } catch {
        damaged++;
      }
    }
    return damaged;
  }

  #reset(segment: JournalSegment): void {
    this.#bytes -= segment.bytes;
    segment.reset();
    this.#bytes += segment.bytes;
  }

  #keep(segment: JournalSegment): void {
    this.#segments.push(segment);
    this.#bytes += segment.bytes;
  }

  #remove(segment: JournalSegment): void {
    const at = this.#segments.indexOf(segment);
    if (at < 0) return;
    this.#segments.splice(at, 1);
    this.#bytes -= segment.bytes;
    segment.remove();
  }
}

function guard<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof JournalError) throw error;
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (error instanceof DirectoryInUseError) {
      throw new JournalError(`agent.journal.directory: ${message}`, { cause: error });
    }
    if (syscall === undefined && code !== "ERR_SQLITE_ERROR") throw error;
    throw new JournalError(`agent.journal: ${message}`, { cause: error });
  }
}
