import { DecodeError } from "./decode-error.ts";

/**
 * A cursor over untrusted bytes: checks every read against `end`, and every length against the bytes left. All methods
 * throw `DecodeError`. The reader is reusable: `reset` points it at other bytes without allocating.
 */
export class ByteReader {
  bytes: Uint8Array;
  offset: number;
  end: number;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  reset(bytes: Uint8Array, offset: number, end: number): this {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
    return this;
  }

  get done(): boolean {
    return this.offset >= this.end;
  }

  u8(): number {
    if (this.offset >= this.end) throw new DecodeError("TRUNCATED", this.offset, "the bytes end too early");
    return this.bytes[this.offset++];
  }

  u32(): number {
    const at = this.skip(4);
    const b = this.bytes;
    // >>> 0, because a first byte of 0x80 or more would make the number negative.
    return ((b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]) >>> 0;
  }

  /** Skips `length` bytes and returns the offset of the first. */
  skip(length: number): number {
    const start = this.offset;
    if (length > this.end - start) {
      throw new DecodeError("TRUNCATED", start, `${length} bytes announced, ${this.end - start} left`);
    }
    this.offset = start + length;
    return start;
  }

  /**
   * Reads HAProxy's variable-length integer (SPOE.txt 3.1). Exact up to 2^53 - 1; larger values are rounded, which is
   * harmless because no valid length, count or time is that large. Use `bigVarint` if all 64 bits matter.
   */
  varint(): number {
    const first = this.u8();
    if (first < 240) return first;
    let value = first;
    let scale = 16;
    for (let i = 0; i < 9; i++) {
      const byte = this.u8();
      // Multiplication, not <<: bitwise operators would cut the value to 32 bits.
      value += byte * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    throw new DecodeError("TOO_LONG", this.offset, "an integer has more than 10 bytes");
  }

  /** Reads the same integer with all 64 bits, unsigned. */
  bigVarint(): bigint {
    const first = this.u8();
    if (first < 240) return BigInt(first);
    let value = BigInt(first);
    let shift = 4n;
    for (let i = 0; i < 9; i++) {
      const byte = this.u8();
      value += BigInt(byte) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
      shift += 7n;
    }
    throw new DecodeError("TOO_LONG", this.offset, "an integer has more than 10 bytes");
  }

  /** Reads length-prefixed bytes as a view into the input. */
  block(): Uint8Array {
    const length = this.varint();
    const start = this.skip(length);
    return this.bytes.subarray(start, start + length);
  }

  /** Reads a length-prefixed string with one character per byte, so no byte is lost. */
  latin1(): string {
    const length = this.varint();
    const start = this.skip(length);
    return asBuffer(this.bytes).toString("latin1", start, start + length);
  }
}

/** Wraps the same bytes in a `Buffer` without copying. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
