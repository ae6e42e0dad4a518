import { asBuffer, ByteReader } from "./byte-reader.ts";
import type { CapturedRequest, PrimaryOutcome } from "./captured-request.ts";
import { DecodeError } from "./decode-error.ts";
import { decodeHeaderBlock } from "./header-block.ts";
import { varintBytes, writeVarint } from "./varint.ts";
import { bodyStates, packContentVersion, recordFlag } from "./writer.ts";

/** A decoded pack. */
export interface Pack {
  /** 32 hex digits. */
  readonly id: string;
  readonly agent: string;
  readonly sequence: number;
  /** How often these requests were tried before: 0 in a pack from an agent. */
  readonly attempt: number;
  readonly requests: readonly PackedRequest[];
  /**
   * The bytes before the count (`head`) and between count and records (`origin`). A share of this pack repeats them.
   */
  readonly head: Uint8Array;
  readonly origin: Uint8Array;
}

/** A request with its encoded record: a share of a pack copies records without encoding them again. */
export interface PackedRequest extends CapturedRequest {
  readonly record: Uint8Array;
}

/** Maximum number of requests that the decoder accepts in a pack. */
export const maxPackRequests = 100_000;

// Packs of agents have far fewer: they close at 256 KiB before compression, unless they hold a single request.
const maxPackHeaders = 1_000_000;

// A record has at least its flags, index, time and seven lengths.
const minRecordBytes = 10;

// The last time that a Date can hold: formatting the time of a request must not throw.
const maxTimeMs = 8.64e15;

/** Decodes the content of a pack (see `PackWriter`). Never throws: returns a `DecodeError` for any other bytes. */
export function decodePack(content: Uint8Array): Pack | DecodeError {
  try {
    return readPack(new ByteReader(content));
  } catch (error) {
    if (error instanceof DecodeError) return error;
    throw error;
  }
}

/** When the first request of the pack was captured, also in a share of it. */
export function firstCapturedAtMs({ head }: Pick<Pack, "head">): number {
  return asBuffer(head).readUIntBE(head.length - 6, 6);
}

/**
 * Encodes a pack with only some requests of `pack`. The id of the pack and the indexes of the requests stay the same.
 *
 * @param attempt how often the requests were tried so far; values above 255 are stored as 255
 */
export function encodeShare(pack: Pack, requests: readonly PackedRequest[], attempt: number): Buffer {
  let bytes = pack.head.length + 4 + pack.origin.length;
  for (const { record } of requests) bytes += varintBytes(record.length) + record.length;
  const content = Buffer.allocUnsafe(bytes);
  content.set(pack.head, 0);
  content[1] = Math.min(attempt, 255);
  let at = content.writeUInt32BE(requests.length, pack.head.length);
  content.set(pack.origin, at);
  at += pack.origin.length;
  for (const { record } of requests) {
    at = writeVarint(content, at, record.length);
    content.set(record, at);
    at += record.length;
  }
  return content;
}

function readPack(reader: ByteReader): Pack {
  const { bytes } = reader;
  const version = reader.u8();
  if (version !== packContentVersion) {
    throw new DecodeError("BAD_VERSION", 0, `the pack content has the unknown version ${version}`);
  }
  const attempt = reader.u8();
  const idAt = reader.skip(16);
  const id = Buffer.from(bytes.subarray(idAt, idAt + 16)).toString("hex");
  const firstCapturedAtMs = reader.u8() * 2 ** 40 + reader.u8() * 2 ** 32 + reader.u32();
  const head = bytes.subarray(0, reader.offset);
  const count = reader.u32();
  if (count > maxPackRequests || count * minRecordBytes > reader.end - reader.offset) {
    throw new DecodeError(
      "BAD_COUNT",
      reader.offset - 4,
      `the pack announces ${count} requests, more than it can contain`,
    );
  }
  const originAt = reader.offset;
  const sequence = reader.varint();
  const agent = reader.latin1();
  const origin = bytes.subarray(originAt, reader.offset);
  const requests: PackedRequest[] = [];
  let parts = 0;
  for (let i = 0; i < count; i++) {
    const length = reader.varint();
    const start = reader.skip(length);
    const request = readRequest(bytes, start, start + length, id, firstCapturedAtMs);
    parts += request.headers.length + (request.primary?.headers?.length ?? 0);
    if (parts > 2 * maxPackHeaders) {
      throw new DecodeError("BAD_COUNT", start, `the pack has more than ${maxPackHeaders} headers`);
    }
    requests.push(request);
  }
  if (!reader.done) throw new DecodeError("TRAILING_BYTES", reader.offset, "bytes follow the last record");
  return { id, agent, sequence, attempt, requests, head, origin };
}

function readRequest(bytes: Uint8Array, start: number, end: number, packId: string, firstMs: number): PackedRequest {
  const reader = new ByteReader(bytes, start, end);
  const flags = reader.u8();
  const bodyState = bodyStates[flags & 3];
  if (bodyState === undefined || flags > 31) {
    throw new DecodeError("BAD_VALUE", start, `a record has unknown flags ${flags}`);
  }
  const index = reader.varint();
  if (index >= maxPackRequests) throw new DecodeError("BAD_VALUE", start + 1, `a record has index ${index}`);
  const capturedAtMs = firstMs + reader.varint();
  if (capturedAtMs > maxTimeMs) {
    throw new DecodeError("BAD_VALUE", start, `a record has capture time ${capturedAtMs} ms`);
  }
  const ownId = reader.latin1();
  const method = reader.latin1();
  const path = reader.latin1();
  const version = reader.latin1();
  const src = (flags & recordFlag.srcIsAddress) !== 0 ? addressText(reader.block(), start) : reader.latin1();
  const headers = decodeHeaderBlock(reader.block());
  const body = reader.block();
  const primary = (flags & recordFlag.primary) !== 0 ? readPrimary(reader, flags) : undefined;
  if (!reader.done) throw new DecodeError("TRAILING_BYTES", reader.offset, "bytes follow the last part of a record");
  return {
    id: ownId === "" ? `${packId}-${index}` : ownId,
    index,
    capturedAtMs,
    method,
    path,
    version,
    src,
    headers,
    body,
    bodyState,
    ...(primary && { primary }),
    record: bytes.subarray(start, end),
  };
}

function readPrimary(reader: ByteReader, flags: number): PrimaryOutcome {
  const status = reader.varint() - 1;
  const timeMs = reader.varint() - 1;
  const bytes = reader.varint() - 1;
  const digest = reader.latin1();
  const headers = (flags & recordFlag.primaryHeaders) !== 0 ? decodeHeaderBlock(reader.block()) : undefined;
  return {
    ...(status >= 0 && { status }),
    ...(timeMs >= 0 && { timeMs }),
    ...(bytes >= 0 && { bytes }),
    ...(digest !== "" && { digest }),
    ...(headers && { headers }),
  };
}

function addressText(address: Uint8Array, offset: number): string {
  if (address.length === 4) return address.join(".");
  if (address.length !== 16) {
    throw new DecodeError("BAD_VALUE", offset, `a client address has ${address.length} bytes instead of 4 or 16`);
  }
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((address[i] << 8) | address[i + 1]).toString(16));
  // URL parsing gives the canonical short form (RFC 5952), and an IPv4-mapped address stays recognisable.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
