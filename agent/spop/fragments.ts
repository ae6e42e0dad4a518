import type { ByteReader } from "../../relay/pack/byte-reader.ts";

interface Parts {
  readonly buffers: Buffer[];
  /** Bytes that count against the limit; -1 once the message has exceeded it. */
  bytes: number;
}

// Memory of a fragment besides its bytes: without it, empty fragments could fill the memory and never reach the limit.
const fragmentCostBytes = 128;

/**
 * Joins the fragments of NOTIFYs (HAProxy 2.0 to 3.0 only). The unfinished messages of a connection share one limit. A
 * message that exceeds it loses its content, but its fragments are still read to the end, since HAProxy waits for the
 * ACK.
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

  /** Starts a message with the rest of `reader`. Returns false if a message with this key has already begun. */
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
    const exceeded = parts.bytes < 0 || this.#heldBytes + bytes > this.#limitBytes;
    if (exceeded) {
      this.#release(parts);
      parts.bytes = -1;
      return;
    }
    // A copy: the fragment is in a socket chunk, which is not valid after this tick.
    parts.buffers.push(Buffer.from(reader.bytes.subarray(reader.offset, reader.end)));
    parts.bytes += bytes;
    this.#heldBytes += bytes;
  }

  /** Returns the whole message, or undefined if it exceeded the limit. */
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
