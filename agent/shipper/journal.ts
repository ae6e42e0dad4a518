import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { encodeJournalRecord, JournalSegment } from "./journal-segment.ts";

export interface JournalOptions {
  /** Made if it is missing, readable by its owner only. For one process at a time. */
  readonly directory: string;
  /** Name and run of the agent: what other runs have left is recovered. */
  readonly run: string;
  /** What all segments may hold together. */
  readonly maxBytes: number;
  /** What gives way where there is no room: the packs that have waited longest, or the one that comes. */
  readonly whenFull: "drop-oldest" | "drop-newest";
  /** Is told of requests that were held when their segment had to give way: they are in memory alone from now on. */
  readonly onExposed: (requests: number) => void;
  /** Is told of requests that are lost to a full or a damaged journal; `recovered` where another run wrote them. */
  readonly onLost: (reason: "journal full" | "journal damaged", requests: number, recovered: boolean) => void;
}

/** What an earlier process had left. */
export interface Recovery {
  readonly packs: number;
  readonly requests: number;
  /** Records that are torn or whose checksum is wrong; nothing but these is lost. */
  readonly damaged: number;
}

/** Names a pack in the journal. */
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

// Small, so that its place is soon free again, and few packs are sent twice after a crash.
const segmentBytes = 4 * 1024 * 1024;

/**
 * Packs on disk until the queue has them, in segment files that are deleted when all of their packs are done. What was
 * appended outlives the process; of the machine's power, all but the last moments, since nothing waits for the disk.
 *
 * Methods throw `JournalError`.
 */
export class Journal {
  readonly recovery: Recovery;
  readonly #options: JournalOptions;
  readonly #segments: JournalSegment[] = [];
  #nextNumber = 1;
  #bytes = 0;

  /** Opens the directory with what an earlier process has left in it. */
  static open(options: JournalOptions): Journal {
    return guard(() => new Journal(options));
  }

  private constructor(options: JournalOptions) {
    this.#options = options;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    takeLock(options.directory);
    const damaged = this.#recover();
    const requests = this.#segments.reduce((sum, segment) => sum + segment.requestsIn("waiting"), 0);
    this.recovery = { packs: this.waiting, requests, damaged };
  }

  /** What the segments take on disk. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Packs that wait on disk alone. */
  get waiting(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.waiting, 0);
  }

  /**
   * Writes a pack, which is held in memory until `release`. Undefined where there is no room and the newest gives way; that
   * has been reported then.
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
   * The pack may leave the memory: `take` will read it from disk. False where it must not, because its segment had to give
   * way to newer ones.
   */
  release({ segment, index }: Ticket): boolean {
    return segment.release(index);
  }

  /** Reads the pack that has waited longest on disk alone; it is held from now on. */
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

  /** The pack needs its place no more. */
  done({ segment, index }: Ticket): void {
    guard(() => {
      segment.done(index);
      if (segment.open > 0 || !segment.kept) return;
      if (segment === this.#active()) this.#reset(segment);
      else this.#remove(segment);
    });
  }

  /** False where the pack is in memory alone, because its segment had to give way to newer ones. */
  keeps({ segment }: Ticket): boolean {
    return segment.kept;
  }

  /** Whether another run of the agent has written the pack. */
  isRecovered({ segment }: Ticket): boolean {
    return segment.run !== this.#options.run;
  }

  close(): void {
    for (const segment of this.#segments.splice(0)) {
      if (segment.open === 0) segment.remove();
      else segment.close();
    }
    rmSync(join(this.#options.directory, lockFile), { force: true });
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
      // What is held in memory is still sent; only what waits on disk alone is lost with its segment.
      this.#remove(oldest);
      if (heldRequests > 0 && oldest.run === run) onExposed(heldRequests);
      if (waitingRequests > 0) onLost("journal full", waitingRequests, oldest.run !== run);
    }
    return true;
  }

  /** Opens what is there; a file that cannot be read counts as damaged and stays. */
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

const lockFile = "lock";

function takeLock(directory: string): void {
  const path = join(directory, lockFile);
  const holder = readHolder(path);
  if (holder && holder.pid !== process.pid && startOf(holder.pid) === holder.start) {
    throw new JournalError(`another agent (process ${holder.pid}) uses the journal in ${directory}: give each its own`);
  }
  writeFileSync(path, `${process.pid} ${startOf(process.pid)}`, { mode: 0o600 });
}

interface Holder {
  readonly pid: number;
  readonly start: string;
}

function readHolder(path: string): Holder | undefined {
  try {
    const match = /^(\d+) (.+)$/.exec(readFileSync(path, "utf8"));
    return match ? { pid: Number(match[1]), start: match[2] } : undefined;
  } catch {
    return undefined;
  }
}

/** When a process was started, since its number may have another owner by now; "gone" where there is none. */
function startOf(pid: number): string {
  try {
    // The 22nd field; the second, the name, may hold spaces.
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19] ?? "gone";
  } catch {
    return isAlive(pid) ? "unknown" : "gone";
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function guard<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof JournalError || (error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new JournalError(`the journal: ${(error as Error).message}`, { cause: error });
  }
}
