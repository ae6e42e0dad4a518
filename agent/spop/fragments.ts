import type { ByteReader } from "../../relay/pack/byte-reader.ts";
import { growBuffer, retainedBytes } from "./grown-buffer.ts";

interface Message {
  /** Larger than that of every message that began before it. */
  readonly number: number;
  buffer: Buffer;
  bytes: number;
  exceeded: boolean;
}

const nothing = Buffer.alloc(0);
// Memory of an unfinished message besides its bytes: without it, empty messages could fill the memory and never reach the limit.
const messageCostBytes = 512;

/**
 * Joins the fragments of NOTIFYs (HAProxy 2.0 to 3.0 only). The unfinished messages of a connection share one limit. A
 * message that exceeds it loses its content, but its fragments are still read to the end, since HAProxy waits for the
 * ACK.
 */
export class Fragments {
  readonly #limitBytes: number;
  readonly #messages = new Map<string, Message>();
  #contentBytes = 0;
  #bufferBytes = 0;
  #begun = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get count(): number {
    return this.#messages.size;
  }

  /** The memory of all unfinished messages. */
  get heldBytes(): number {
    return this.#bufferBytes + this.#messages.size * messageCostBytes;
  }

  /** The number of the message that is unfinished for the longest time; 0 if there is none. */
  get oldest(): number {
    // A map keeps the order of insertion.
    for (const { number } of this.#messages.values()) return number;
    return 0;
  }

  has(key: string): boolean {
    return this.#messages.has(key);
  }

  /** Starts a message with the rest of `reader`. Returns false if a message with this key has already begun. */
  begin(key: string, reader: ByteReader): boolean {
    if (this.#messages.has(key)) return false;
    this.#messages.set(key, { number: ++this.#begun, buffer: nothing, bytes: 0, exceeded: false });
    this.add(key, reader);
    return true;
  }

  add(key: string, reader: ByteReader): void {
    const message = this.#messages.get(key);
    if (!message || message.exceeded) return;
    const bytes = reader.end - reader.offset;
    if (this.#contentBytes + bytes > this.#limitBytes) {
      this.#release(message);
      message.exceeded = true;
      return;
    }
    if (bytes === 0) return;
    // A copy: the fragment is in a socket chunk, which is not valid after this tick.
    const needed = message.bytes + bytes;
    this.#bufferBytes -= memoryOf(message);
    if (needed > message.buffer.length) {
      message.buffer = growBuffer(message.buffer, message.bytes, needed, this.#limitBytes);
    }
    message.buffer.set(reader.bytes.subarray(reader.offset, reader.end), message.bytes);
    message.bytes = needed;
    this.#contentBytes += bytes;
    this.#bufferBytes += memoryOf(message);
  }

  /** Returns the whole message, or undefined if it exceeded the limit. */
  finish(key: string): Buffer | undefined {
    const message = this.#messages.get(key);
    const whole = message && !message.exceeded ? message.buffer.subarray(0, message.bytes) : undefined;
    this.drop(key);
    return whole;
  }

  drop(key: string): void {
    const message = this.#messages.get(key);
    if (message) this.#release(message);
    this.#messages.delete(key);
  }

  clear(): void {
    this.#messages.clear();
    this.#contentBytes = 0;
    this.#bufferBytes = 0;
  }

  #release(message: Message): void {
    this.#contentBytes -= message.bytes;
    this.#bufferBytes -= memoryOf(message);
    message.buffer = nothing;
    message.bytes = 0;
  }
}

function memoryOf({ buffer, bytes }: Message): number {
  return bytes === 0 ? 0 : retainedBytes(buffer, bytes);
}
