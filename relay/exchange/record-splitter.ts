import type { ByteStream } from "./byte-stream.ts";

export interface SplitRecord {
  /** Undefined if the record is longer than `maxBytes`. */
  readonly bytes: Buffer | undefined;
  /** 1 for the first. */
  readonly number: number;
  /** Offset of its first byte in the stream. */
  readonly offset: number;
  /** False for the bytes after the last separator. */
  readonly closed: boolean;
  /** Whether the separator after the record ends with CR LF. */
  readonly crlf: boolean;
}

export interface RecordSeparator {
  readonly mark: Buffer;
  /** Whether LF or CR LF has to follow the mark. With CR LF, a CR before the mark belongs to the separator, too. */
  readonly needsLineEnd: boolean;
}

/** The bytes EF BB BF at the start of a text, one character per byte. */
export const byteOrderMark = /^\xef\xbb\xbf/;

const firstBufferBytes = 64 * 1024;
const [lineFeed, carriageReturn] = [0x0a, 0x0d];

/** Yields the records between separators, and the bytes after the last separator if there are any. */
export async function* splitRecords(
  stream: ByteStream,
  { mark, needsLineEnd }: RecordSeparator,
  maxBytes: number,
): AsyncGenerator<SplitRecord> {
  const pending = new PendingBytes();
  let number = 0;
  let offset = 0;
  // Discarded bytes of the current record, which is too long.
  let dropped = 0;
  let scanned = 0;
  for await (const chunk of stream) {
    pending.append(chunk);
    for (;;) {
      const content = pending.content;
      const at = content.indexOf(mark, scanned);
      // The last bytes may be the start of a mark.
      if (at < 0) scanned = Math.max(scanned, content.length - mark.length + 1);
      if (at < 0) break;
      const after = at + mark.length;
      const endBytes = needsLineEnd ? lineEndBytes(content, after) : 0;
      scanned = endBytes === 0 && needsLineEnd ? at + 1 : at;
      if (endBytes === undefined) break;
      if (scanned > at) continue;
      const crlf = endBytes === 2;
      const end = crlf && content[at - 1] === carriageReturn ? at - 1 : at;
      const bytes = dropped + end > maxBytes ? undefined : Buffer.from(content.subarray(0, end));
      yield { bytes, number: ++number, offset, closed: true, crlf };
      offset += dropped + after + endBytes;
      pending.drop(after + endBytes);
      dropped = 0;
      scanned = 0;
    }
    if (dropped + scanned > maxBytes) {
      pending.drop(scanned);
      dropped += scanned;
      scanned = 0;
    }
  }
  // The line end after the last mark may be missing.
  const at = needsLineEnd ? pending.content.indexOf(mark, scanned) : -1;
  const end = at < 0 ? pending.length : at;
  if (dropped + pending.length === 0) return;
  const bytes = dropped + end > maxBytes ? undefined : Buffer.from(pending.content.subarray(0, end));
  yield { bytes, number: number + 1, offset, closed: at >= 0, crlf: false };
}

/** Length of the line end at an offset, 0 if there is none; undefined if the content ends before that is known. */
function lineEndBytes(content: Buffer, at: number): number | undefined {
  if (content[at] === lineFeed) return 1;
  if (at < content.length && content[at] !== carriageReturn) return 0;
  if (at + 1 >= content.length) return undefined;
  return content[at + 1] === lineFeed ? 2 : 0;
}

/** Unread bytes in one buffer that grows by doubling: a long record in short chunks is not copied for each chunk. */
class PendingBytes {
  #buffer = Buffer.allocUnsafe(firstBufferBytes);
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  get content(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  append(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length);
    this.#buffer.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  drop(bytes: number): void {
    this.#start += bytes;
  }

  #makeRoom(bytes: number): void {
    const { content } = this;
    const needed = content.length + bytes;
    const fits = needed * 2 <= this.#buffer.length;
    const buffer = fits ? this.#buffer : Buffer.allocUnsafe(Math.max(firstBufferBytes, needed * 2));
    content.copy(buffer);
    this.#buffer = buffer;
    this.#end = content.length;
    this.#start = 0;
  }
}
