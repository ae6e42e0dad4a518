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
}

const firstBufferBytes = 64 * 1024;

/** Yields the records between separators, and the bytes after the last separator if there are any. */
export async function* splitRecords(
  stream: ByteStream,
  separator: Buffer,
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
      const end = content.indexOf(separator, scanned);
      if (end < 0) break;
      const bytes = dropped + end > maxBytes ? undefined : Buffer.from(content.subarray(0, end));
      yield { bytes, number: ++number, offset, closed: true };
      offset += dropped + end + separator.length;
      pending.drop(end + separator.length);
      dropped = 0;
      scanned = 0;
    }
    // The last bytes may be the start of a separator.
    scanned = Math.max(0, pending.length - separator.length + 1);
    if (dropped + scanned > maxBytes) {
      pending.drop(scanned);
      dropped += scanned;
      scanned = 0;
    }
  }
  const length = dropped + pending.length;
  if (length === 0) return;
  const bytes = length > maxBytes ? undefined : Buffer.from(pending.content);
  yield { bytes, number: number + 1, offset, closed: false };
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
