import type { ByteReader } from "../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { writeVarint } from "../../relay/pack/varint.ts";

/** SPOE.txt 3.1: the low nibble of the first byte is the type, the high nibble holds flags. */
export const dataType = {
  null: 0,
  bool: 1,
  int32: 2,
  uint32: 3,
  int64: 4,
  uint64: 5,
  ipv4: 6,
  ipv6: 7,
  string: 8,
  binary: 9,
} as const;

const trueFlag = 0x10;

/**
 * A typed value as its place in the reader's bytes. One object is reused for all arguments, so that reading a request
 * allocates nothing. `start` and `end` bound the bytes of strings, binaries and addresses; `number` holds integers and
 * booleans.
 */
export interface TypedValue {
  type: number;
  start: number;
  end: number;
  /** Exact up to 2^53 - 1; a negative integer arrives as 2^64 - n and is rounded here, see `decodeTypedData`. */
  number: number;
}

/** Reads the next typed value into `value`. Throws `DecodeError`. */
export function readTypedData(reader: ByteReader, value: TypedValue): void {
  const at = reader.offset;
  const first = reader.u8();
  const type = first & 0x0f;
  value.type = type;
  value.number = 0;
  switch (type) {
    case dataType.null:
      break;
    case dataType.bool:
      value.number = (first & trueFlag) === 0 ? 0 : 1;
      break;
    case dataType.int32:
    case dataType.uint32:
    case dataType.int64:
    case dataType.uint64:
      value.number = reader.varint();
      break;
    case dataType.ipv4:
      reader.skip(4);
      value.end = reader.offset;
      value.start = value.end - 4;
      return;
    case dataType.ipv6:
      reader.skip(16);
      value.end = reader.offset;
      value.start = value.end - 16;
      return;
    case dataType.string:
    case dataType.binary: {
      const length = reader.varint();
      value.start = reader.skip(length);
      value.end = reader.offset;
      return;
    }
    default:
      throw new DecodeError("UNKNOWN_TYPE", at, `data type ${type} is reserved`);
  }
  value.start = reader.offset;
  value.end = reader.offset;
}

/** A typed value as a JavaScript value: strings have one character per byte, integers are bigint with their sign. */
export type DecodedValue = null | boolean | bigint | string | Uint8Array;

/** Decodes one typed value, for handshakes and for frames as text. Throws `DecodeError`. */
export function decodeTypedData(reader: ByteReader): DecodedValue {
  const type = reader.u8() & 0x0f;
  if (type >= dataType.int32 && type <= dataType.uint64) {
    const raw = reader.bigVarint();
    if (type === dataType.int32) return BigInt.asIntN(32, raw);
    if (type === dataType.uint32) return BigInt.asUintN(32, raw);
    return type === dataType.int64 ? BigInt.asIntN(64, raw) : raw;
  }
  reader.offset--;
  const value: TypedValue = { type: 0, start: 0, end: 0, number: 0 };
  readTypedData(reader, value);
  if (value.type === dataType.null) return null;
  if (value.type === dataType.bool) return value.number === 1;
  const bytes = reader.bytes.subarray(value.start, value.end);
  return value.type === dataType.string ? Buffer.from(bytes).toString("latin1") : bytes;
}

/** Writes a string value and returns the offset after it. */
export function writeTypedString(target: Buffer, offset: number, text: string): number {
  target[offset] = dataType.string;
  return writePlainString(target, offset + 1, text);
}

/** Writes an unsigned 32-bit value and returns the offset after it. */
export function writeTypedUint32(target: Buffer, offset: number, value: number): number {
  target[offset] = dataType.uint32;
  return writeVarint(target, offset + 1, value);
}

/** Writes a length-prefixed string without a type: names of keys, messages and arguments. */
export function writePlainString(target: Buffer, offset: number, text: string): number {
  const at = writeVarint(target, offset, text.length);
  return at + target.write(text, at, "latin1");
}
