import { closeSync, fstatSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { OutgoingMessage } from "../relay/queue/port.ts";

// A segment: "SRJ1", then records. A record: length and CRC-32 of what follows (4 + 4), then requests (4), length of the body
// (4), body, pack.
const magic = Buffer.from("SRJ1");
const headBytes = 8;
const fixedBytes = 8;

/** Largest record that is believed; a longer length is damage. */
const maxRecordBytes = 64 * 1024 * 1024;

/** A record is in memory as well, waits on disk alone, or needs its place no more. */
type RecordState = "held" | "waiting" | "done";

/** One append-only file of the journal. Its methods throw what the file system throws. */
export class JournalSegment {
  /** Written by an earlier process; nothing is appended to it. */
  readonly recovered: boolean;
  readonly #path: string;
  readonly #fd: number;
  readonly #offsets: number[] = [];
  readonly #requests: number[] = [];
  readonly #states: RecordState[] = [];
  #bytes = magic.length;
  #open = 0;
  #waiting = 0;
  // Records before this one do not wait.
  #firstWaiting = 0;
  #removed = false;

  static create(path: string): JournalSegment {
    const segment = new JournalSegment(path, openSync(path, "wx+", 0o600), false);
    try {
      writeSync(segment.#fd, magic, 0, magic.length, 0);
    } catch (error) {
      segment.remove();
      throw error;
    }
    return segment;
  }

  /** Opens a file of an earlier process; `damaged` counts records that are torn or whose checksum is wrong. */
  static recover(path: string): { readonly segment: JournalSegment; readonly damaged: number } {
    const segment = new JournalSegment(path, openSync(path, "r+"), true);
    return { segment, damaged: segment.#scan() };
  }

  private constructor(path: string, fd: number, recovered: boolean) {
    this.#path = path;
    this.#fd = fd;
    this.recovered = recovered;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Records that are not done. */
  get open(): number {
    return this.#open;
  }

  /** Records that wait on disk alone. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Requests of the records that wait on disk alone. */
  get waitingRequests(): number {
    return this.#requests.reduce((sum, count, i) => (this.#states[i] === "waiting" ? sum + count : sum), 0);
  }

  /** Appends a record, which is held, and returns its index. A record that could not be written whole leaves no trace. */
  append(record: Buffer, requests: number): number {
    try {
      for (let at = 0; at < record.length; ) {
        at += writeSync(this.#fd, record, at, record.length - at, this.#bytes + at);
      }
    } catch (error) {
      ftruncateSync(this.#fd, this.#bytes);
      throw error;
    }
    const index = this.#note(this.#bytes, requests, "held");
    this.#bytes += record.length;
    return index;
  }

  /** A held record may leave the memory; false where it must not, because the file is gone. */
  release(index: number): boolean {
    if (this.#removed || this.#states[index] !== "held") return false;
    this.#states[index] = "waiting";
    this.#waiting++;
    this.#firstWaiting = Math.min(this.#firstWaiting, index);
    return true;
  }

  /** Reads the first record that waits; it is held from now on. `message` is undefined where it is damaged by now. */
  take(): { readonly index: number; readonly requests: number; readonly message: OutgoingMessage | undefined } {
    const index = this.#states.indexOf("waiting", this.#firstWaiting);
    const message = this.#read(index);
    this.#states[index] = "held";
    this.#firstWaiting = index + 1;
    this.#waiting--;
    return { index, requests: this.#requests[index], message };
  }

  /** A held record is needed no more. */
  done(index: number): void {
    if (this.#states[index] !== "held") return;
    this.#states[index] = "done";
    this.#open--;
  }

  close(): void {
    closeSync(this.#fd);
  }

  remove(): void {
    this.#removed = true;
    closeSync(this.#fd);
    rmSync(this.#path, { force: true });
  }

  #note(offset: number, requests: number, state: RecordState): number {
    this.#offsets.push(offset);
    this.#requests.push(requests);
    this.#open++;
    if (state === "waiting") this.#waiting++;
    return this.#states.push(state) - 1;
  }

  #scan(): number {
    const size = fstatSync(this.#fd).size;
    const start = Buffer.alloc(magic.length);
    readSync(this.#fd, start, 0, start.length, 0);
    if (!start.equals(magic)) return size === 0 ? 0 : 1;
    let damaged = 0;
    for (let at = magic.length; at < size; ) {
      const head = Buffer.alloc(headBytes);
      const length = readSync(this.#fd, head, 0, headBytes, at) === headBytes ? head.readUInt32BE(0) : Number.NaN;
      // Torn in the middle: nothing can follow it.
      if (!(length >= fixedBytes && length <= maxRecordBytes && at + headBytes + length <= size)) return damaged + 1;
      const content = Buffer.alloc(length);
      readSync(this.#fd, content, 0, length, at + headBytes);
      if (crc32(content) === head.readUInt32BE(4)) this.#note(at, content.readUInt32BE(0), "waiting");
      else damaged++;
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
    if (crc32(content) !== head.readUInt32BE(4)) return undefined;
    const packAt = fixedBytes + content.readUInt32BE(4);
    return {
      body: content.toString("utf8", fixedBytes, packAt),
      pack: content.subarray(packAt),
      requests: content.readUInt32BE(0),
    };
  }
}

/** The bytes of a record that holds `message`. */
export function encodeJournalRecord({ body, pack, requests }: OutgoingMessage): Buffer {
  const bodyBytes = Buffer.byteLength(body);
  const length = fixedBytes + bodyBytes + pack.length;
  const record = Buffer.allocUnsafe(headBytes + length);
  record.writeUInt32BE(length, 0);
  record.writeUInt32BE(requests, 8);
  record.writeUInt32BE(bodyBytes, 12);
  record.write(body, 16);
  record.set(pack, 16 + bodyBytes);
  record.writeUInt32BE(crc32(record.subarray(headBytes)), 4);
  return record;
}
