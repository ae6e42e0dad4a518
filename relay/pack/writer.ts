import { asBuffer } from "./byte-reader.ts";
import type { BodyState } from "./captured-request.ts";
import type { Span } from "./span.ts";
import { maxVarintBytes, varintBytes, writeVarint } from "./varint.ts";

/**
 * A request before it is packed, as spans of the socket's buffer. One draft is reused for all requests; `append` copies
 * the bytes.
 */
export interface RequestDraft {
  capturedAtMs: number;
  bodyState: BodyState;
  readonly id: Span;
  readonly method: Span;
  readonly path: Span;
  readonly version: Span;
  /** 4 or 16 address bytes if `srcIsAddress`, else text. */
  readonly src: Span;
  srcIsAddress: boolean;
  /** A header block, see header-block.ts. */
  readonly headers: Span;
  readonly body: Span;
  /** Whether the primary's outcome was sent; parts that were not sent are -1 or empty. */
  hasPrimary: boolean;
  primaryStatus: number;
  primaryTimeMs: number;
  primaryBytes: number;
  readonly primaryDigest: Span;
  hasPrimaryHeaders: boolean;
  readonly primaryHeaders: Span;
}

export interface PackIdentity {
  /** 16 bytes, different for each pack. */
  readonly id: Uint8Array;
  /** The agent's name and current run: sequence numbers start again with each run. */
  readonly agent: string;
  /** 1, 2, 3, … without a gap: a gap reveals a missing pack. */
  readonly sequence: number;
}

/** Layout version of the pack content. */
export const packContentVersion = 1;

/** Bits of a record's first byte; its two lowest bits hold the body state. */
export const recordFlag = { srcIsAddress: 4, primary: 8, primaryHeaders: 16 } as const;

export const bodyStates: readonly BodyState[] = ["complete", "truncated", "omitted"];

const countBytes = 4;
const timeBytes = 6;

/**
 * Writes captured requests one after the other into one buffer.
 *
 * Content: version (1) · attempt (1) · pack id (16) · first capture time in ms (6) · count (4) · sequence (varint) ·
 * agent (string) · records, each after its length (varint). Integers are big-endian.
 */
export class PackWriter {
  readonly #buffer: Buffer<ArrayBuffer>;
  readonly #countAt: number;
  #offset: number;
  #count = 0;
  #firstCapturedAtMs = 0;
  #lastCapturedAtMs = 0;

  /** @param buffer holds the content; its size limits the pack */
  constructor(buffer: Buffer<ArrayBuffer>, identity: PackIdentity) {
    this.#buffer = buffer;
    let at = 0;
    buffer[at++] = packContentVersion;
    buffer[at++] = 0;
    buffer.set(identity.id, at);
    at += identity.id.length + timeBytes;
    this.#countAt = at;
    at = writeVarint(buffer, at + countBytes, identity.sequence);
    at = writeVarint(buffer, at, identity.agent.length);
    at += buffer.write(identity.agent, at, "latin1");
    this.#offset = at;
  }

  /** Upper bound of a pack's size without its records, in bytes. */
  static headerBytes(agent: string): number {
    return 2 + 16 + timeBytes + countBytes + 2 * maxVarintBytes + agent.length;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#offset;
  }

  get firstCapturedAtMs(): number {
    return this.#firstCapturedAtMs;
  }

  get lastCapturedAtMs(): number {
    return this.#lastCapturedAtMs;
  }

  /** Copies the request into the pack. Returns false and changes nothing if it does not fit. */
  append(draft: RequestDraft): boolean {
    const first = this.#count === 0;
    const sinceFirstMs = first ? 0 : Math.max(0, draft.capturedAtMs - this.#firstCapturedAtMs);
    const length = recordBytes(draft, this.#count, sinceFirstMs);
    const needed = varintBytes(length) + length;
    if (needed > this.#buffer.length - this.#offset) return false;
    if (first) this.#firstCapturedAtMs = draft.capturedAtMs;
    this.#lastCapturedAtMs = this.#firstCapturedAtMs + sinceFirstMs;
    const at = writeVarint(this.#buffer, this.#offset, length);
    this.#offset = writeRecord(this.#buffer, at, draft, this.#count, sinceFirstMs);
    this.#count++;
    return true;
  }

  /** Returns the finished content as a view into the writer's buffer. */
  finish(): Buffer<ArrayBuffer> {
    this.#buffer.writeUIntBE(this.#firstCapturedAtMs, this.#countAt - timeBytes, timeBytes);
    this.#buffer.writeUInt32BE(this.#count, this.#countAt);
    return this.#buffer.subarray(0, this.#offset);
  }
}

/** Upper bound of a request's size in a pack, in bytes, including its length prefix. */
export function draftBytes(draft: RequestDraft): number {
  return recordBytes(draft, 0xffff_ffff, Number.MAX_SAFE_INTEGER) + maxVarintBytes;
}

function recordBytes(draft: RequestDraft, index: number, sinceFirstMs: number): number {
  let bytes =
    1 +
    varintBytes(index) +
    varintBytes(sinceFirstMs) +
    spanBytes(draft.id) +
    spanBytes(draft.method) +
    spanBytes(draft.path) +
    spanBytes(draft.version) +
    spanBytes(draft.src) +
    spanBytes(draft.headers) +
    spanBytes(draft.body);
  if (draft.hasPrimary) {
    bytes +=
      varintBytes(draft.primaryStatus + 1) +
      varintBytes(draft.primaryTimeMs + 1) +
      varintBytes(draft.primaryBytes + 1) +
      spanBytes(draft.primaryDigest);
    if (draft.hasPrimaryHeaders) bytes += spanBytes(draft.primaryHeaders);
  }
  return bytes;
}

function writeRecord(target: Buffer, offset: number, draft: RequestDraft, index: number, sinceFirstMs: number): number {
  let at = offset;
  target[at++] =
    bodyStates.indexOf(draft.bodyState) |
    (draft.srcIsAddress ? recordFlag.srcIsAddress : 0) |
    (draft.hasPrimary ? recordFlag.primary : 0) |
    (draft.hasPrimary && draft.hasPrimaryHeaders ? recordFlag.primaryHeaders : 0);
  at = writeVarint(target, at, index);
  at = writeVarint(target, at, sinceFirstMs);
  at = writeSpan(target, at, draft.id);
  at = writeSpan(target, at, draft.method);
  at = writeSpan(target, at, draft.path);
  at = writeSpan(target, at, draft.version);
  at = writeSpan(target, at, draft.src);
  at = writeSpan(target, at, draft.headers);
  at = writeSpan(target, at, draft.body);
  if (draft.hasPrimary) {
    at = writeVarint(target, at, draft.primaryStatus + 1);
    at = writeVarint(target, at, draft.primaryTimeMs + 1);
    at = writeVarint(target, at, draft.primaryBytes + 1);
    at = writeSpan(target, at, draft.primaryDigest);
    if (draft.hasPrimaryHeaders) at = writeSpan(target, at, draft.primaryHeaders);
  }
  return at;
}

function spanBytes(span: Span): number {
  const length = span.end - span.start;
  return varintBytes(length) + length;
}

function writeSpan(target: Buffer, offset: number, span: Span): number {
  const { bytes, start, end } = span;
  let at = writeVarint(target, offset, end - start);
  // For the few bytes of a method or a version, a loop is faster than a native copy.
  if (end - start <= 16) {
    for (let i = start; i < end; i++) target[at++] = bytes[i];
    return at;
  }
  return at + asBuffer(bytes).copy(target, at, start, end);
}
