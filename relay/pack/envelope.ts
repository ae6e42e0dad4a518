import zlib from "node:zlib";
import { ByteReader } from "./byte-reader.ts";
import { DecodeError } from "./decode-error.ts";

// The envelope: "SRPK" · version (1) · compression (1) · bytes of the content (4) · CRC-32 of the payload (4) ·
// payload.
const magic = 0x5352504b;
const envelopeVersion = 1;
const headerBytes = 14;
const compression = { none: 0, zstd: 1 } as const;
// Level 1 compresses to a third at 700 MB/s per core; higher levels gain a few percent for several times the CPU.
const zstdOptions = { params: { [zlib.constants.ZSTD_c_compressionLevel]: 1 } };

/** Largest content that `openPack` accepts, in bytes: protects from false sizes and decompression bombs. */
export const maxPackContentBytes = 64 * 1024 * 1024;

/** Compresses the content of a pack and prepends its size and checksum. */
export function sealPack(content: Uint8Array): Buffer {
  const compressed = zlib.zstdCompressSync(content, zstdOptions);
  const smaller = compressed.length < content.length;
  const payload = smaller ? compressed : content;
  const sealed = Buffer.allocUnsafe(headerBytes + payload.length);
  sealed.writeUInt32BE(magic, 0);
  sealed[4] = envelopeVersion;
  sealed[5] = smaller ? compression.zstd : compression.none;
  sealed.writeUInt32BE(content.length, 6);
  sealed.writeUInt32BE(zlib.crc32(payload), 10);
  sealed.set(payload, headerBytes);
  return sealed;
}

/** The bytes that an envelope says it will have when it is opened, at least 1; if it cannot be opened, its own. */
export function announcedBytes(sealed: Uint8Array): number {
  if (sealed.length < headerBytes) return Math.max(1, sealed.length);
  const bytes = new DataView(sealed.buffer, sealed.byteOffset, headerBytes).getUint32(6);
  return Math.max(1, bytes > maxPackContentBytes ? sealed.length : bytes);
}

/** Checks and decompresses an envelope of `sealPack`. Never throws: returns a `DecodeError` for any other bytes. */
export function openPack(sealed: Uint8Array): Uint8Array | DecodeError {
  try {
    return readEnvelope(new ByteReader(sealed));
  } catch (error) {
    if (error instanceof DecodeError) return error;
    throw error;
  }
}

function readEnvelope(reader: ByteReader): Uint8Array {
  if (reader.u32() !== magic) throw new DecodeError("BAD_MAGIC", 0, "this is not a pack: it does not begin with SRPK");
  const version = reader.u8();
  if (version !== envelopeVersion) {
    throw new DecodeError("BAD_VERSION", 4, `the pack has the unknown version ${version}`);
  }
  const kind = reader.u8();
  const contentBytes = reader.u32();
  if (contentBytes > maxPackContentBytes) {
    throw new DecodeError(
      "TOO_LONG",
      6,
      `the pack announces ${contentBytes} bytes; at most ${maxPackContentBytes} are allowed`,
    );
  }
  const checksum = reader.u32();
  const payload = reader.bytes.subarray(reader.offset, reader.end);
  if (zlib.crc32(payload) !== checksum) throw new DecodeError("BAD_CHECKSUM", 10, "the pack's checksum does not match");
  const content = decompress(kind, payload, contentBytes);
  if (content.length !== contentBytes) {
    throw new DecodeError("BAD_VALUE", 6, `the pack announces ${contentBytes} bytes but contains ${content.length}`);
  }
  return content;
}

function decompress(kind: number, payload: Uint8Array, contentBytes: number): Uint8Array {
  if (kind === compression.none) return payload;
  if (kind !== compression.zstd) throw new DecodeError("BAD_COMPRESSION", 5, `compression ${kind} is unknown`);
  try {
    // At least 1: zlib rejects a limit of 0. One chunk that is never full: zlib would join many small ones into a copy.
    const chunkSize = Math.max(zlib.constants.Z_MIN_CHUNK, contentBytes + 1);
    return zlib.zstdDecompressSync(payload, { maxOutputLength: Math.max(1, contentBytes), chunkSize });
  } catch (cause) {
    throw new DecodeError("BAD_COMPRESSION", headerBytes, "the pack cannot be decompressed", { cause });
  }
}
