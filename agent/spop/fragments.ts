import type { ByteReader } from "../../relay/pack/byte-reader.ts";

interface Parts {
  readonly buffers: Buffer[];
  /** What they count for; -1 once they exceed the limit. */
  bytes: number;
}

// What a fragment takes beside its bytes: without it, empty fragments would fill the memory and never meet the limit.
const fragmentCostBytes = 128;

/**
 * Puts fragmented NOTIFYs together (HAProxy 2.0 to 3.0 only). What the unfinished messages of a connection hold together is
 * limited: beyond it the content of a message is thrown away, but its fragments are still followed to the end, since
 * HAProxy waits for the ACK.
 */
export class Fragments {
  readonly #limitBytes: number;
  readonly #messages = new Map<string, Parts>();
  #heldBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get count(): number {
    return this.#messages.size;
  }

  has(key: string): boolean {
    return this.#messages.has(key);
  }

  /** Starts a message with the rest of `reader`; false where one with this key is already under way. */
  begin(key: string, reader: ByteReader): boolean {
    if (this.#messages.has(key)) return false;
    this.#messages.set(key, { buffers: [], bytes: 0 });
    this.add(key, reader);
    return true;
  }

  add(key: string, reader: ByteReader): void {
    const parts = this.#messages.get(key);
    if (!parts) return;
    const bytes = reader.end - reader.offset + fragmentCostBytes;
    const tooMuch = parts.bytes < 0 || this.#heldBytes + bytes > this.#limitBytes;
    if (tooMuch) {
      this.#release(parts);
      parts.bytes = -1;
      return;
    }
    // A copy: the fragment lies in a socket chunk, which is gone when the next one comes.
    parts.buffers.push(Buffer.from(reader.bytes.subarray(reader.offset, reader.end)));
    parts.bytes += bytes;
    this.#heldBytes += bytes;
  }

  /** The whole message, or undefined where it exceeded the limit. */
  finish(key: string): Buffer | undefined {
    const parts = this.#messages.get(key);
    const whole = parts && parts.bytes >= 0 ? Buffer.concat(parts.buffers) : undefined;
    this.drop(key);
    return whole;
  }

  drop(key: string): void {
    const parts = this.#messages.get(key);
    if (parts) this.#release(parts);
    this.#messages.delete(key);
  }

  clear(): void {
    this.#messages.clear();
    this.#heldBytes = 0;
  }

  #release(parts: Parts): void {
    if (parts.bytes > 0) this.#heldBytes -= parts.bytes;
    parts.buffers.length = 0;
  }
}
