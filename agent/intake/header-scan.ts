import { ByteReader } from "../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { emptySpan, type Span } from "../../relay/pack/span.ts";
import { maxVarintBytes, writeVarint } from "../../relay/pack/varint.ts";
import { isLoopMark, type LoopGuard, unsignedGuard } from "../../relay/rules/loop-mark.ts";

const hostHeader = "host";
const contentLengthHeader = "content-length";
const transferEncodingHeader = "transfer-encoding";
const upgradeHeader = "upgrade";
const colon = 0x3a;
const comma = 0x2c;
const tab = 0x09;
const space = 0x20;
const carriageReturn = 0x0d;
const lineFeed = 0x0a;

// HAProxy sends a number, or a few with commas. To read 16 MiB of them would delay ACKs.
const maxContentLengthBytes = 1024;

// A larger buffer, for one large message, is not kept for the next.
const keptScratchBytes = 1024 * 1024;

/** HAProxy's own limit of headers (`tune.http.maxhdr`): it never sends more of one request. */
export const maxHeaders = 32_767;

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
  /** The most headers that the next scans may find together; each takes its own away. */
  left = maxHeaders;

  readonly #guard: LoopGuard;
  /** Lengths of the names that matter, one bit each. */
  readonly #lengths: number;
  // The value of the first header with a mark: a request of hundreds of them costs no more.
  #markAt = -1;
  #markEnd = -1;
  readonly #reader = new ByteReader(new Uint8Array());
  #scratch = Buffer.alloc(4096);

  /** @param guard its header has less than 32 characters */
  constructor(guard: LoopGuard = unsignedGuard) {
    this.#guard = guard;
    this.#lengths = lengths | (1 << guard.header.length);
  }

  /** True if the request claims to come from a replay. */
  get claimsLoop(): boolean {
    return this.#markAt >= 0;
  }

  /** True if the request comes from a replay. Verifies its signature if the guard has keys: a few microseconds. */
  get looped(): boolean {
    return this.#markAt >= 0 && isLoopMark(this.#guard, this.block.bytes, this.#markAt, this.#markEnd);
  }

  /** Scans `req.hdrs_bin`. Throws `DecodeError`, with the code `BAD_COUNT` if there are more headers than `left`. */
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
      if (--this.left < 0) throw tooManyHeaders(at);
      count++;
      partBytes += nameBytes + valueBytes;
      if (nameBytes < 32 && (this.#lengths & (1 << nameBytes)) !== 0)
        this.#note(bytes, nameAt, nameBytes, valueAt, valueAt + valueBytes);
    }
    this.#found(bytes, start, end, count, partBytes);
  }

  /** Scans `req.hdrs`: lines of `name: value`, ended by an empty line. Throws `DecodeError`. */
  scanText(bytes: Uint8Array, start: number, end: number): void {
    // Two lengths of one byte replace the colon and the line feed of each line. Only strings of 240 bytes or more need
    // longer lengths: at most one more byte per 240 bytes. The last line may have no line feed.
    const scratch = this.#reserve(end - start + ((end - start) >>> 7) + maxVarintBytes);
    let at = 0;
    let lineAt = 0;
    let lines = 0;
    // Only the headers: a search must not go on through the rest of a large frame for each message in it.
    const text = bytes.subarray(start, end);
    while (lineAt < text.length) {
      const feed = text.indexOf(lineFeed, lineAt);
      const nextAt = feed < 0 ? text.length : feed + 1;
      let lineEnd = feed < 0 ? text.length : feed;
      if (lineEnd > lineAt && text[lineEnd - 1] === carriageReturn) lineEnd--;
      if (lineEnd === lineAt) break;
      if (++lines > this.left) throw tooManyHeaders(start + lineAt);
      const colonAt = text.indexOf(colon, lineAt);
      if (colonAt <= lineAt || colonAt >= lineEnd)
        throw new DecodeError("BAD_VALUE", start + lineAt, "a header has no name");
      let valueAt = colonAt + 1;
      if (valueAt < lineEnd && text[valueAt] === space) valueAt++;
      at = copyString(scratch, at, text, lineAt, colonAt);
      at = copyString(scratch, at, text, valueAt, lineEnd);
      lineAt = nextAt;
    }
    this.scanBinary(scratch, 0, at);
  }

  #clear(): void {
    this.contentLength = -1;
    this.transferEncoding = false;
    this.upgrade = false;
    this.hostBytes = 0;
    this.#markAt = -1;
  }

  #note(bytes: Uint8Array, nameAt: number, nameBytes: number, valueAt: number, valueEnd: number): void {
    const { header } = this.#guard;
    if (nameBytes === header.length && this.#markAt < 0 && equalsName(bytes, nameAt, header)) {
      this.#markAt = valueAt;
      this.#markEnd = valueEnd;
      return;
    }
    switch (nameBytes) {
      case hostHeader.length:
        if (equalsName(bytes, nameAt, hostHeader)) this.hostBytes = valueEnd - valueAt;
        break;
      case upgradeHeader.length:
        if (equalsName(bytes, nameAt, upgradeHeader)) this.upgrade = true;
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
    if (this.#scratch.length >= bytes) return this.#scratch;
    // Without zeros: the system provides only what is written.
    const scratch = Buffer.allocUnsafeSlow(bytes);
    if (bytes <= keptScratchBytes) this.#scratch = scratch;
    return scratch;
  }
}

// No two of these names have the same length: for most headers, one look at the length is enough.
const lengths = [hostHeader, upgradeHeader, contentLengthHeader, transferEncodingHeader].reduce(
  (bits, { length }) => bits | (1 << length),
  0,
);

// Up to this size, a loop is faster than a view of the bytes.
const loopedBytes = 48;

function copyString(target: Buffer, offset: number, bytes: Uint8Array, start: number, end: number): number {
  let at = writeVarint(target, offset, end - start);
  if (end - start > loopedBytes) {
    target.set(bytes.subarray(start, end), at);
    return at + end - start;
  }
  for (let i = start; i < end; i++) target[at++] = bytes[i];
  return at;
}

function tooManyHeaders(at: number): DecodeError {
  return new DecodeError("BAD_COUNT", at, `a NOTIFY has more than ${maxHeaders} headers`);
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
 * rule may have added one: the largest is the one that cannot make a cut body look whole. A value that is too long to be read
 * counts as the largest of all.
 */
function parseContentLength(bytes: Uint8Array, start: number, end: number): number {
  if (end - start > maxContentLengthBytes) return Number.POSITIVE_INFINITY;
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
