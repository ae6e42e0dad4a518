import { lengthBytes } from "./frame.ts";
import { growBuffer, retainedBytes } from "./grown-buffer.ts";

const nothing = Buffer.alloc(0);

/** A frame announces more bytes than the limit. */
export class FrameTooBig extends Error {
  readonly announcedBytes: number;
  readonly limitBytes: number;

  constructor(announcedBytes: number, limitBytes: number) {
    super(`a frame of ${announcedBytes} bytes exceeds the limit of ${limitBytes} bytes`);
    this.name = "FrameTooBig";
    this.announcedBytes = announcedBytes;
    this.limitBytes = limitBytes;
  }
}

/**
 * Finds the frames in a stream of chunks. A frame that is whole in one chunk is a view into it. Only a frame that
 * crosses chunks is copied, into a buffer that grows with the bytes that arrive and not with the announced length.
 */
export class FrameSplitter {
  /** The frame that `next` found, without its length: `bytes` from `start` to `end`. Valid until the tick ends. */
  bytes: Uint8Array = nothing;
  start = 0;
  end = 0;

  #chunk: Uint8Array = nothing;
  #offset = 0;
  #partial: Buffer | undefined;
  #partialBytes = 0;
  #partials = 0;

  push(chunk: Uint8Array): void {
    const { waitingBytes } = this;
    this.#chunk = waitingBytes > 0 ? Buffer.concat([this.#chunk.subarray(this.#offset), chunk]) : chunk;
    this.#offset = 0;
  }

  /** Bytes of the last chunk that `next` has not come to. */
  get waitingBytes(): number {
    return this.#chunk.length - this.#offset;
  }

  /** The memory of the last chunk, all of which is kept while bytes of it wait. */
  get chunkBytes(): number {
    return this.waitingBytes > 0 ? this.#chunk.length : 0;
  }

  /** The number of the unfinished frame whose beginning is kept, counted over all such frames; 0 if there is none. */
  get unfinished(): number {
    return this.#partial === undefined ? 0 : this.#partials;
  }

  /** The memory of the unfinished frame. */
  get heldBytes(): number {
    return this.#partial === undefined ? 0 : retainedBytes(this.#partial, this.#partialBytes);
  }

  /** Forgets everything that it has not returned. */
  clear(): void {
    this.#partial = undefined;
    this.#partialBytes = 0;
    this.#forgetChunk();
  }

  /**
   * Moves to the next whole frame; false if more bytes are needed. Throws `FrameTooBig` before it buffers the frame.
   */
  next(limitBytes: number): boolean {
    if (this.#find(limitBytes)) return true;
    // An idle connection would otherwise keep its last chunk, of up to 64 KiB, or its last frame.
    this.#forgetChunk();
    return false;
  }

  #find(limitBytes: number): boolean {
    if (this.#partial) return this.#nextPartial(this.#partial, limitBytes);
    const available = this.#chunk.length - this.#offset;
    if (available === 0) return false;
    if (available < lengthBytes) return this.#keep(lengthBytes);
    const length = readLength(this.#chunk, this.#offset);
    if (length > limitBytes) throw new FrameTooBig(length, limitBytes);
    if (available < lengthBytes + length) return this.#keep(lengthBytes + length);
    this.bytes = this.#chunk;
    this.start = this.#offset + lengthBytes;
    this.end = this.start + length;
    this.#offset = this.end;
    return true;
  }

  #nextPartial(partial: Buffer, limitBytes: number): boolean {
    if (this.#partialBytes < lengthBytes) {
      this.#fill(lengthBytes);
      if (this.#partialBytes < lengthBytes) return false;
    }
    const length = readLength(partial, 0);
    if (length > limitBytes) throw new FrameTooBig(length, limitBytes);
    this.#fill(lengthBytes + length);
    if (this.#partialBytes < lengthBytes + length) return false;
    this.bytes = this.#partial as Buffer;
    this.start = lengthBytes;
    this.end = lengthBytes + length;
    this.#partial = undefined;
    this.#partialBytes = 0;
    return true;
  }

  #forgetChunk(): void {
    this.bytes = nothing;
    this.#chunk = nothing;
    this.#offset = 0;
  }

  #keep(wantedBytes: number): false {
    this.#partials++;
    this.#partial = nothing;
    this.#partialBytes = 0;
    this.#fill(wantedBytes);
    return false;
  }

  #fill(wantedBytes: number): void {
    const bytes = Math.min(wantedBytes - this.#partialBytes, this.#chunk.length - this.#offset);
    let partial = this.#partial as Buffer;
    const needed = this.#partialBytes + bytes;
    if (needed > partial.length) {
      partial = growBuffer(partial, this.#partialBytes, needed, wantedBytes);
      this.#partial = partial;
    }
    partial.set(this.#chunk.subarray(this.#offset, this.#offset + bytes), this.#partialBytes);
    this.#partialBytes = needed;
    this.#offset += bytes;
  }
}

function readLength(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}
