import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { promisify } from "node:util";
import zlib from "node:zlib";
import type { OutgoingMessage } from "../../relay/queue/port.ts";

// A segment: "SRJ1", length of the run (2), run, then records. A record: length and CRC-32 of the rest (4 + 4), then
// requests (4), length of the body (4), body, pack. Once a record is done, its first bit is set, and all but its length is 0.
const magic = Buffer.from("SRJ1");
const headBytes = 8;
const fixedBytes = 8;
const doneBit = 0x8000_0000;
const syncData = promisify(fdatasync);

/** Largest plausible record; a longer length means damage. */
const maxRecordBytes = 64 * 1024 * 1024;

/** `held`: also in memory; `waiting`: only on disk; `done`: no longer needed. */
type RecordState = "held" | "waiting" | "done";

/** One append-only file of the journal. Its methods throw the errors of the file system. */
export class JournalSegment {
  /** Name and run of the agent that wrote it. */
  run: string;
  /** True if it was found on disk; nothing is appended to it. */
  readonly recovered: boolean;
  readonly #path: string;
  readonly #fd: number;
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  readonly #requests: number[] = [];
  readonly #states: RecordState[] = [];
  #firstRecordAt = 0;
  #bytes = 0;
  #open = 0;
  #waiting = 0;
  // No record before this index is waiting.
  #firstWaiting = 0;
  #removed = false;
  #unsynced = false;
  #syncing = false;
  #closed = false;

  static create(path: string, run: string): JournalSegment {
    const segment = new JournalSegment(path, openSync(path, "wx+", 0o600), false, run);
    try {
      const head = Buffer.concat([magic, Buffer.of(run.length >> 8, run.length), Buffer.from(run, "latin1")]);
      writeWhole(segment.#fd, head, 0);
      segment.#firstRecordAt = head.length;
      segment.#bytes = head.length;
    } catch (error) {
      segment.remove();
      throw error;
    }
    return segment;
  }

  /** Opens a file of an earlier process or thread; `damaged` counts incomplete records and wrong checksums. */
  static recover(path: string): { readonly segment: JournalSegment; readonly damaged: number } {
    const segment = new JournalSegment(path, openSync(path, "r+"), true, "");
    try {
      return { segment, damaged: segment.#scan() };
    } catch (error) {
      segment.close();
      throw error;
    }
  }

  private constructor(path: string, fd: number, recovered: boolean, run: string) {
    this.#path = path;
    this.#fd = fd;
    this.recovered = recovered;
    this.run = run;
  }

  /** False once the file is removed: its held records are then in memory only. */
  get kept(): boolean {
    return !this.#removed;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Records that are not done. */
  get open(): number {
    return this.#open;
  }

  /** Records that are only on disk. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Requests of all records in this state. */
  requestsIn(state: "waiting" | "held"): number {
    return this.#requests.reduce((sum, count, i) => (this.#states[i] === state ? sum + count : sum), 0);
  }

  /** Appends a held record and returns its index. Removes a record that could not be written completely. */
  append(record: Buffer, requests: number): number {
    try {
      writeWhole(this.#fd, record, this.#bytes);
    } catch (error) {
      ftruncateSync(this.#fd, this.#bytes);
      throw error;
    }
    const index = this.#note(this.#bytes, record.length, requests, "held");
    this.#bytes += record.length;
    this.#unsynced = true;
    return index;
  }

  /** Allows a held record to leave memory. Returns false if it must stay there, because the file is removed. */
  release(index: number): boolean {
    if (this.#removed || this.#states[index] !== "held") return false;
    this.#states[index] = "waiting";
    this.#waiting++;
    this.#firstWaiting = Math.min(this.#firstWaiting, index);
    return true;
  }

  /** Reads the first waiting record; it is held from now on. `message` is undefined if the record is damaged by now. */
  take(): { readonly index: number; readonly requests: number; readonly message: OutgoingMessage | undefined } {
    const index = this.#states.indexOf("waiting", this.#firstWaiting);
    const message = this.#read(index);
    this.#states[index] = "held";
    this.#firstWaiting = index + 1;
    this.#waiting--;
    return { index, requests: this.#requests[index], message };
  }

  /** Marks a held record as done, and erases it. */
  done(index: number): void {
    if (this.#states[index] !== "held") return;
    this.#states[index] = "done";
    this.#open--;
    if (this.#removed) return;
    // On disk as well: it must not be sent again after a crash, and the queue has it now, so nobody needs it here.
    const erased = Buffer.alloc(this.#lengths[index]);
    erased.writeUInt32BE((doneBit | (erased.length - headBytes)) >>> 0);
    writeWhole(this.#fd, erased, this.#offsets[index]);
  }

  /** Resolves when the records that were appended before survive a power failure. Returns false if nothing was to be done. */
  async sync(): Promise<boolean> {
    if (!this.#unsynced || this.#syncing || this.#closed) return false;
    this.#unsynced = false;
    this.#syncing = true;
    try {
      await syncData(this.#fd);
      return true;
    } catch (error) {
      this.#unsynced = true;
      throw error;
    } finally {
      this.#syncing = false;
      if (this.#closed) closeSync(this.#fd);
    }
  }

  /** Truncates a segment that has no open records, so that it can be filled again. */
  reset(): void {
    ftruncateSync(this.#fd, this.#firstRecordAt);
    this.#bytes = this.#firstRecordAt;
    this.#offsets.length = 0;
    this.#lengths.length = 0;
    this.#requests.length = 0;
    this.#states.length = 0;
    this.#firstWaiting = 0;
  }

  close(): void {
    // A machine may be switched off just after its agent has stopped.
    if (this.#unsynced && !this.#removed) fdatasyncSync(this.#fd);
    this.#closed = true;
    // Otherwise another file could have the descriptor while it is synced.
    if (!this.#syncing) closeSync(this.#fd);
  }

  remove(): void {
    this.#removed = true;
    this.close();
    rmSync(this.#path, { force: true });
  }

  #note(offset: number, length: number, requests: number, state: RecordState): number {
    this.#offsets.push(offset);
    this.#lengths.push(length);
    this.#requests.push(requests);
    this.#open++;
    if (state === "waiting") this.#waiting++;
    return this.#states.push(state) - 1;
  }

  #scan(): number {
    const size = fstatSync(this.#fd).size;
    const start = Buffer.alloc(magic.length + 2);
    readSync(this.#fd, start, 0, start.length, 0);
    if (!start.subarray(0, magic.length).equals(magic)) return size === 0 ? 0 : 1;
    const run = Buffer.alloc(start.readUInt16BE(magic.length));
    readSync(this.#fd, run, 0, run.length, start.length);
    this.run = run.toString("latin1");
    let damaged = 0;
    this.#bytes = start.length + run.length;
    for (let at = this.#bytes; at < size; ) {
      const head = Buffer.alloc(headBytes);
      const first = readSync(this.#fd, head, 0, headBytes, at) === headBytes ? head.readUInt32BE(0) : Number.NaN;
      const done = first >= doneBit;
      const length = done ? first - doneBit : first;
      // Incomplete: no record can follow it.
      if (!(length >= fixedBytes && length <= maxRecordBytes && at + headBytes + length <= size)) return damaged + 1;
      if (!done) {
        const content = Buffer.alloc(length);
        readSync(this.#fd, content, 0, length, at + headBytes);
        if (zlib.crc32(content) === head.readUInt32BE(4)) {
          this.#note(at, headBytes + length, content.readUInt32BE(0), "waiting");
        } else damaged++;
      }
      at += headBytes + length;
      this.#bytes = at;
    }
    return damaged;
  }

  #read(index: number): OutgoingMessage | undefined {
    const at = this.#offsets[index];
    const head = Buffer.alloc(headBytes);
    if (readSync(this.#fd, head, 0, headBytes, at) < headBytes) return undefined;
    const length = head.readUInt32BE(0);
    if (length < fixedBytes || length > maxRecordBytes) return undefined;
    const content = Buffer.allocUnsafe(length);
    if (readSync(this.#fd, content, 0, length, at + headBytes) < length) return undefined;
    if (zlib.crc32(content) !== head.readUInt32BE(4)) return undefined;
    const packAt = fixedBytes + content.readUInt32BE(4);
    return {
      body: content.toString("utf8", fixedBytes, packAt),
      pack: content.subarray(packAt),
      requests: content.readUInt32BE(0),
    };
  }
}

function writeWhole(fd: number, bytes: Buffer, offset: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, offset + at);
}

/** Encodes a record that contains `message`. */
export function encodeJournalRecord({ body, pack, requests }: OutgoingMessage): Buffer {
  const bodyBytes = Buffer.byteLength(body);
  const length = fixedBytes + bodyBytes + pack.length;
  const record = Buffer.allocUnsafe(headBytes + length);
  record.writeUInt32BE(length, 0);
  record.writeUInt32BE(requests, 8);
  record.writeUInt32BE(bodyBytes, 12);
  record.write(body, 16);
  record.set(pack, 16 + bodyBytes);
  record.writeUInt32BE(zlib.crc32(record.subarray(headBytes)), 4);
  return record;
}
