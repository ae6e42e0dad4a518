import { ByteReader } from "../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { emptySpan, type Span } from "../../relay/pack/span.ts";
import { maxVarintBytes, writeVarint } from "../../relay/pack/varint.ts";

const hostHeader = "host";
const loopHeader = "x-mirror-id";
const contentLengthHeader = "content-length";
const transferEncodingHeader = "transfer-encoding";
const upgradeHeader = "upgrade";
const colon = 0x3a;
const comma = 0x2c;
const tab = 0x09;
const space = 0x20;
const carriageReturn = 0x0d;
const lineFeed = 0x0a;

/**
 * Reads the headers of a message without creating strings. Encodes them as a header block, and finds what the agent needs to know.
 * One instance is reused for every request.
 */
export class HeaderScan {
  /** The headers as a header block, valid until the next scan: a view of the scanned bytes or of a scratch buffer. */
  readonly block: Span = emptySpan();
  /** The largest number in the Content-Length headers; -1 if there is none. */
  contentLength = -1;
  /** True if there is a Transfer-Encoding. */
  transferEncoding = false;
  /** True if there is an Upgrade, whatever it names. */
  upgrade = false;
  hostBytes = 0;
  /** The number of headers, and the bytes of their names and values. */
  count = 0;
  bytes = 0;
  /** True if the request comes from a replay: it has the header X-Mirror-Id. */
  looped = false;

  readonly #reader = new ByteReader(new Uint8Array());
  #scratch = Buffer.alloc(4096);

  /** Scans `req.hdrs_bin`. Throws `DecodeError`. */
  scanBinary(bytes: Uint8Array, start: number, end: number): void {
    this.#clear();
    let count = 0;
    let partBytes = 0;
    const reader = this.#reader.reset(bytes, start, end);
    while (!reader.done) {
      const at = reader.offset;
      const nameBytes = reader.varint();
      const nameAt = reader.skip(nameBytes);
      const valueBytes = reader.varint();
      const valueAt = reader.skip(valueBytes);
      if (nameBytes === 0) {
        // Two empty strings end the list; an empty value alone is legal.
        if (valueBytes === 0) return this.#found(bytes, start, at, count, partBytes);
        throw new DecodeError("BAD_VALUE", at, "a header has no name");
      }
      count++;
      partBytes += nameBytes + valueBytes;
      if (isOfInterest(nameBytes)) this.#note(bytes, nameAt, nameBytes, valueAt, valueAt + valueBytes);
    }
    this.#found(bytes, start, end, count, partBytes);
  }

  /** Scans `req.hdrs`: lines of `name: value`, ended by an empty line. Throws `DecodeError`. */
  scanText(bytes: Uint8Array, start: number, end: number): void {
    // Two lengths of one byte replace the colon and the line feed of each line. Only strings of 240 bytes or more need
    // longer lengths: at most one more byte per 240 bytes. The last line may have no line feed.
    const scratch = this.#reserve(end - start + ((end - start) >>> 7) + maxVarintBytes);
    let at = 0;
    let lineAt = start;
    while (lineAt < end) {
      const feed = bytes.indexOf(lineFeed, lineAt);
      const nextAt = feed < 0 || feed >= end ? end : feed + 1;
      let lineEnd = nextAt === end && (feed < 0 || feed >= end) ? end : feed;
      if (lineEnd > lineAt && bytes[lineEnd - 1] === carriageReturn) lineEnd--;
      if (lineEnd === lineAt) break;
      const colonAt = bytes.indexOf(colon, lineAt);
      if (colonAt <= lineAt || colonAt >= lineEnd) throw new DecodeError("BAD_VALUE", lineAt, "a header has no name");
      let valueAt = colonAt + 1;
      if (valueAt < lineEnd && bytes[valueAt] === space) valueAt++;
      at = copyString(scratch, at, bytes, lineAt, colonAt);
      at = copyString(scratch, at, bytes, valueAt, lineEnd);
      lineAt = nextAt;
    }
    this.scanBinary(scratch, 0, at);
  }

  #clear(): void {
    this.contentLength = -1;
    this.transferEncoding = false;
    this.upgrade = false;
    this.hostBytes = 0;
    this.looped = false;
  }

  #note(bytes: Uint8Array, nameAt: number, nameBytes: number, valueAt: number, valueEnd: number): void {
    switch (nameBytes) {
      case hostHeader.length:
        if (equalsName(bytes, nameAt, hostHeader)) this.hostBytes = valueEnd - valueAt;
        break;
      case upgradeHeader.length:
        if (equalsName(bytes, nameAt, upgradeHeader)) this.upgrade = true;
        break;
      case loopHeader.length:
        if (equalsName(bytes, nameAt, loopHeader)) this.looped = true;
        break;
      case contentLengthHeader.length:
        if (equalsName(bytes, nameAt, contentLengthHeader)) {
          this.contentLength = Math.max(this.contentLength, parseContentLength(bytes, valueAt, valueEnd));
        }
        break;
      case transferEncodingHeader.length:
        if (equalsName(bytes, nameAt, transferEncodingHeader)) this.transferEncoding = true;
        break;
    }
  }

  #found(bytes: Uint8Array, start: number, end: number, count: number, partBytes: number): void {
    this.count = count;
    this.bytes = partBytes;
    this.block.bytes = bytes;
    this.block.start = start;
    this.block.end = end;
  }

  #reserve(bytes: number): Buffer {
    if (this.#scratch.length < bytes) this.#scratch = Buffer.alloc(bytes);
    return this.#scratch;
  }
}

// No two of these names have the same length: for most headers, one look at the length is enough.
const lengths = [hostHeader, upgradeHeader, loopHeader, contentLengthHeader, transferEncodingHeader].reduce(
  (bits, { length }) => bits | (1 << length),
  0,
);

function isOfInterest(nameBytes: number): boolean {
  return nameBytes < 32 && (lengths & (1 << nameBytes)) !== 0;
}

function copyString(target: Buffer, offset: number, bytes: Uint8Array, start: number, end: number): number {
  const at = writeVarint(target, offset, end - start);
  target.set(bytes.subarray(start, end), at);
  return at + end - start;
}

function equalsName(bytes: Uint8Array, at: number, lowerCaseName: string): boolean {
  for (let i = 0; i < lowerCaseName.length; i++) {
    if (lowerCase(bytes[at + i]) !== lowerCaseName.charCodeAt(i)) return false;
  }
  return true;
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/**
 * The largest number in a Content-Length; -1 if there is none. HAProxy refuses a request with two different lengths, but a
 * rule may have added one: the largest is the one that cannot make a cut body look whole.
 */
function parseContentLength(bytes: Uint8Array, start: number, end: number): number {
  let largest = -1;
  for (let itemAt = start; itemAt <= end; ) {
    let itemEnd = itemAt;
    while (itemEnd < end && bytes[itemEnd] !== comma) itemEnd++;
    largest = Math.max(largest, parseDigits(bytes, itemAt, itemEnd));
    itemAt = itemEnd + 1;
  }
  return largest;
}

/** The number between two offsets, with or without blanks around it; -1 if there is none. */
function parseDigits(bytes: Uint8Array, start: number, end: number): number {
  let from = start;
  let to = end;
  while (from < to && isBlank(bytes[from])) from++;
  while (from < to && isBlank(bytes[to - 1])) to--;
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = bytes[i] - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return from === to ? -1 : value;
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab;
}
