import { ackBytes, writeAck } from "./frame.ts";

/** The answer to one chunk, written frame by frame. */
export class Reply {
  #bytes = Buffer.allocUnsafeSlow(16 * 1024);
  #length = 0;

  begin(): void {
    this.#length = 0;
  }

  /** Acknowledges the NOTIFY with the identifiers from `idStart` to `idEnd` of `source`. */
  acknowledge(source: Uint8Array, idStart: number, idEnd: number): void {
    this.#reserve(ackBytes(idEnd - idStart));
    this.#length = writeAck(this.#bytes, this.#length, source, idStart, idEnd);
  }

  append(frame: Buffer): void {
    this.#reserve(frame.length);
    this.#length += frame.copy(this.#bytes, this.#length);
  }

  /** A copy: the socket may keep the bytes until HAProxy reads again, and the next answer overwrites them. */
  copy(): Buffer {
    return this.#length === 0 ? nothing : Buffer.from(this.#bytes.subarray(0, this.#length));
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

const nothing = Buffer.alloc(0);
