import { ByteReader } from "../pack/byte-reader.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { maxPackContentBytes, openPack, sealPack } from "../pack/envelope.ts";
import { decodePack, maxPackRequests, type Pack, type PackedRequest } from "../pack/pack.ts";
import { maxVarintBytes, varintBytes, writeVarint } from "../pack/varint.ts";

/** A pack, or a share of one, in an object of a capture; its requests keep the pack's id and their indexes. */
export interface StoredPack {
  /** Capture time of its earliest and its latest request. */
  readonly firstMs: number;
  readonly lastMs: number;
  readonly requests: number;
  /** Encoded as in a queue, see `PackWriter`. */
  readonly content: Uint8Array;
}

/** Longest time between the first and last request of an object. A reader looks this far back for a moment. */
export const maxObjectSpanMs = 60_000;

// "SRCO" · version (1) · packs (4), then for each: first capture time in ms (6) · span in ms, requests, length
// (varints) · content. Everything is in one compressed envelope, because the same headers repeat across packs.
const magic = 0x5352434f;
const version = 1;
const headBytes = 9;
const timeBytes = 6;
const minPackBytes = timeBytes + 3;

/** Maximum size of a pack in an object, in bytes before compression. */
export function storedBytes({ content }: Pick<StoredPack, "content">): number {
  return timeBytes + 3 * maxVarintBytes + content.length;
}

/** Largest content, in bytes, of a pack in an object. */
export const maxStoredContentBytes = maxPackContentBytes - headBytes - timeBytes - 3 * maxVarintBytes;

/** Encodes packs as one object. Throws `RangeError` if they do not fit into one. */
export function sealCaptureObject(packs: readonly StoredPack[]): Buffer {
  let bytes = headBytes;
  for (const pack of packs) {
    const { firstMs, lastMs, requests, content } = pack;
    bytes += timeBytes + varintBytes(lastMs - firstMs) + varintBytes(requests);
    bytes += varintBytes(content.length) + content.length;
  }
  if (bytes > maxPackContentBytes) {
    throw new RangeError(`an object would have ${bytes} bytes; at most ${maxPackContentBytes} are allowed`);
  }
  const object = Buffer.allocUnsafe(bytes);
  object.writeUInt32BE(magic, 0);
  object[4] = version;
  let at = object.writeUInt32BE(packs.length, 5);
  for (const { firstMs, lastMs, requests, content } of packs) {
    at = object.writeUIntBE(firstMs, at, timeBytes);
    at = writeVarint(object, at, lastMs - firstMs);
    at = writeVarint(object, at, requests);
    at = writeVarint(object, at, content.length);
    object.set(content, at);
    at += content.length;
  }
  return sealPack(object);
}

/**
 * Checks and decompresses an object of `sealCaptureObject`. The packs are views into one buffer and are not decoded
 * yet. Never throws: returns a `DecodeError` for any other bytes.
 */
export function openCaptureObject(sealed: Uint8Array): readonly StoredPack[] | DecodeError {
  const content = openPack(sealed);
  if (content instanceof DecodeError) return content;
  try {
    return readPacks(new ByteReader(content));
  } catch (error) {
    if (error instanceof DecodeError) return error;
    throw error;
  }
}

/**
 * Decodes a pack of an object. Also returns a `DecodeError` if its times or number of requests differ from the
 * object's.
 */
export function decodeStoredPack({ firstMs, lastMs, requests, content }: StoredPack): Pack | DecodeError {
  const pack = decodePack(content);
  if (pack instanceof DecodeError) return pack;
  const within = pack.requests.every(({ capturedAtMs }) => capturedAtMs >= firstMs && capturedAtMs <= lastMs);
  if (within && pack.requests.length === requests) return pack;
  return new DecodeError(
    "BAD_VALUE",
    0,
    "the pack's times or number of requests differ from those that its object states",
  );
}

/** Describes an encoded pack with these requests, of which there is at least one. */
export function toStoredPack(content: Uint8Array, requests: readonly PackedRequest[]): StoredPack {
  let firstMs = Number.POSITIVE_INFINITY;
  let lastMs = 0;
  for (const { capturedAtMs } of requests) {
    firstMs = Math.min(firstMs, capturedAtMs);
    lastMs = Math.max(lastMs, capturedAtMs);
  }
  return { firstMs, lastMs, requests: requests.length, content };
}

function readPacks(reader: ByteReader): readonly StoredPack[] {
  if (reader.u32() !== magic) {
    throw new DecodeError("BAD_MAGIC", 0, "this is not a capture object: it does not begin with SRCO");
  }
  const found = reader.u8();
  if (found !== version) throw new DecodeError("BAD_VERSION", 4, `the object has version ${found}`);
  const count = reader.u32();
  if (count * minPackBytes > reader.end - reader.offset) {
    throw new DecodeError("BAD_COUNT", 5, `the object announces ${count} packs, more than fit into it`);
  }
  const packs: StoredPack[] = [];
  for (let i = 0; i < count; i++) packs.push(readStoredPack(reader));
  if (!reader.done) throw new DecodeError("TRAILING_BYTES", reader.offset, "bytes follow the last pack");
  return packs;
}

function readStoredPack(reader: ByteReader): StoredPack {
  const start = reader.offset;
  const high = reader.u8() * 2 ** 40 + reader.u8() * 2 ** 32;
  const firstMs = high + reader.u32();
  const spanMs = reader.varint();
  if (spanMs > maxObjectSpanMs) {
    throw new DecodeError(
      "BAD_VALUE",
      start,
      `a pack in the object spans ${spanMs} ms; at most ${maxObjectSpanMs} are allowed`,
    );
  }
  const requests = reader.varint();
  if (requests < 1 || requests > maxPackRequests) {
    throw new DecodeError("BAD_COUNT", start, `a pack in the object announces ${requests} requests`);
  }
  return { firstMs, lastMs: firstMs + spanMs, requests, content: reader.block() };
}
