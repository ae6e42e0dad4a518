import { constants, crc32, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { maxPackContentBytes, openPack, sealPack } from "../../../relay/pack/envelope.ts";

interface EnvelopeFields {
  readonly magic?: string;
  readonly version?: number;
  readonly compression?: number;
  readonly contentBytes?: number;
  readonly checksum?: number;
  readonly payload?: Uint8Array;
}

const content = Buffer.from("the same words, ".repeat(200));

/** Builds an envelope by hand, so each field can be wrong. */
function envelope(fields: EnvelopeFields = {}): Buffer {
  const { magic = "SRPK", version = 1, compression = 1, contentBytes = content.length } = fields;
  const { payload = zstdCompressSync(content), checksum = crc32(payload) } = fields;
  const head = Buffer.alloc(14);
  head.write(magic, "latin1");
  head[4] = version;
  head[5] = compression;
  head.writeUInt32BE(contentBytes, 6);
  head.writeUInt32BE(checksum, 10);
  return Buffer.concat([head, payload]);
}

function codeOf(sealed: Uint8Array): string {
  const opened = openPack(sealed);
  return opened instanceof DecodeError ? opened.code : "opened";
}

describe("sealPack and openPack", () => {
  it("round-trip any content", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4_000 }), fc.nat(30), (bytes, repeats) => {
        const original = Buffer.concat(Array.from({ length: repeats }, () => bytes));
        expect(Buffer.from(openPack(sealPack(original)) as Uint8Array)).toEqual(original);
      }),
    );
  });

  it("compress content if that makes it smaller, and never add more than the header", () => {
    const random = Buffer.from(Array.from({ length: 256 }, (_, i) => (i * 167 + 13) % 256));

    expect(sealPack(content).length).toBeLessThan(content.length / 10);
    expect(sealPack(random)).toHaveLength(random.length + 14);
    expect(sealPack(new Uint8Array())).toHaveLength(14);
  });

  it("read an envelope that was built by hand", () => {
    expect(Buffer.from(openPack(envelope()) as Uint8Array)).toEqual(content);
    expect(Buffer.from(openPack(envelope({ compression: 0, payload: content })) as Uint8Array)).toEqual(content);
  });
});

describe("openPack", () => {
  it.each<[string, EnvelopeFields, string]>([
    ["another magic", { magic: "SRPX" }, "BAD_MAGIC"],
    ["a later version", { version: 2 }, "BAD_VERSION"],
    ["an unknown compression", { compression: 2 }, "BAD_COMPRESSION"],
    ["a wrong checksum", { checksum: 1 }, "BAD_CHECKSUM"],
    ["a size that is too small", { contentBytes: content.length - 1 }, "BAD_COMPRESSION"],
    ["a size that is too large", { contentBytes: content.length + 1 }, "BAD_VALUE"],
    ["a size of 0", { contentBytes: 0 }, "BAD_COMPRESSION"],
    ["a wrong size without compression", { compression: 0, payload: content, contentBytes: 3 }, "BAD_VALUE"],
    ["a size above the limit", { contentBytes: maxPackContentBytes + 1 }, "TOO_LONG"],
    ["a payload that is not zstd", { payload: Buffer.from("no zstd") }, "BAD_COMPRESSION"],
    ["a payload that is cut off", { payload: zstdCompressSync(content).subarray(0, -3) }, "BAD_COMPRESSION"],
  ])("refuses %s", (_case, fields, code) => {
    expect(codeOf(envelope(fields))).toBe(code);
  });

  it("stops a decompression bomb at its announced size", () => {
    const bomb = zstdCompressSync(Buffer.alloc(128 * 1024 * 1024), {
      params: { [constants.ZSTD_c_compressionLevel]: 1 },
    });

    const before = process.memoryUsage().arrayBuffers;
    const code = codeOf(envelope({ payload: bomb, contentBytes: 1_024 }));

    expect(code).toBe("BAD_COMPRESSION");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  });

  it("detects any flipped bit of the payload, and any truncation", () => {
    const sealed = sealPack(content);
    for (let bit = 14 * 8; bit < sealed.length * 8; bit++) {
      const flipped = Buffer.from(sealed);
      flipped[bit >> 3] ^= 1 << (bit & 7);
      expect(codeOf(flipped)).toBe("BAD_CHECKSUM");
    }
    for (let bytes = 0; bytes < sealed.length; bytes++) expect(codeOf(sealed.subarray(0, bytes))).not.toBe("opened");
  });

  it("returns bytes or a DecodeError for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, withMagic) => {
        const sealed = withMagic ? Buffer.concat([Buffer.from("SRPK\x01"), bytes]) : bytes;
        const opened = openPack(sealed);
        expect(opened instanceof Uint8Array || opened instanceof DecodeError).toBe(true);
      }),
    );
  });
});
