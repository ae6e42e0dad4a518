import { asBuffer, ByteReader } from "./byte-reader.ts";
import { DecodeError } from "./decode-error.ts";
import { varintBytes, writeVarint } from "./varint.ts";

// A header block is HAProxy's req.hdrs_bin without its terminator: (varint length, name)(varint length, value)
// repeated.

// HAProxy accepts 32,767 headers at most. A part of three bytes takes ten times its size in memory.
const maxParts = 200_000;
const tooMany = `a request has more than ${maxParts / 2} headers`;
const noName = "a header has no name";

/** Decodes a header block into name, value, name, value, … Throws `DecodeError`. */
export function decodeHeaderBlock(block: Uint8Array): string[] {
  // All parts are slices of one string: one native call per part would take most of the time of reading a pack.
  const text = asBuffer(block).toString("latin1");
  const reader = new ByteReader(block);
  const headers: string[] = [];
  while (!reader.done) {
    const name = part(reader, text);
    if (name === "") throw new DecodeError("BAD_VALUE", reader.offset, noName);
    headers.push(name, part(reader, text));
    if (headers.length > maxParts) throw new DecodeError("BAD_COUNT", reader.offset, tooMany);
  }
  return headers;
}

function part(reader: ByteReader, text: string): string {
  const length = reader.varint();
  const start = reader.skip(length);
  return text.slice(start, start + length);
}

/** Why `decodeHeaderBlock` would refuse these headers, encoded; undefined if it would not. */
export function findHeaderFlaw(headers: readonly string[]): string | undefined {
  if (headers.length > maxParts) return tooMany;
  return headers.some((part, i) => i % 2 === 0 && part === "") ? noName : undefined;
}

/** Encodes name, value, name, value, … (one character per byte). */
export function encodeHeaderBlock(headers: readonly string[]): Buffer {
  let bytes = 0;
  for (const part of headers) bytes += varintBytes(part.length) + part.length;
  const block = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const part of headers) {
    at = writeVarint(block, at, part.length);
    at += block.write(part, at, "latin1");
  }
  return block;
}
