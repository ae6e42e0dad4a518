import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";
import { maxVarintBytes, varintBytes, writeVarint } from "../../../relay/pack/varint.ts";
import { referenceVarint } from "../../support/spop/reference-varint.ts";

// From SPOE.txt and from recordings of HAProxy.
const known: readonly (readonly [value: number, hex: string])[] = [
  [0, "00"],
  [239, "ef"],
  [240, "f000"],
  [241, "f100"],
  [255, "ff00"],
  [256, "f001"],
  [2_287, "ff7f"],
  [2_288, "f08000"],
  [16_380, "fcf006"],
  [65_536, "f0f11e"],
  [264_431, "ffff7f"],
  [264_432, "f0808000"],
  [1_048_572, "fcf0fe02"],
  [33_818_863, "ffffff7f"],
  [33_818_864, "f080808000"],
  [4_294_967_295, "fff0fefe7e"],
  [4_328_786_160, "f08080808000"],
  [Number.MAX_SAFE_INTEGER, "fff0fefefefefe7e"],
];

function encode(value: number): Buffer {
  const target = Buffer.alloc(maxVarintBytes + 2, 0xaa);
  return target.subarray(1, writeVarint(target, 1, value));
}

describe("writeVarint", () => {
  it.each(known)("writes %i as HAProxy does", (value, hex) => {
    expect(encode(value).toString("hex")).toBe(hex);
  });

  it("writes the same bytes as the reference, and as many as `varintBytes` returns", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 53 }), (large, bits) => {
        const value = large % 2 ** bits;
        expect(encode(value)).toEqual(referenceVarint(value));
        expect(varintBytes(value)).toBe(referenceVarint(value).length);
      }),
    );
  });

  it("agrees with the reference on both sides of every change of length", () => {
    for (let limit = 240n; limit < 2n ** 53n; limit = 240n + (limit - 240n + (limit === 240n ? 16n : 0n)) * 128n) {
      for (const value of [limit - 1n, limit, limit + 1n].filter((near) => near < 2n ** 53n)) {
        expect(encode(Number(value))).toEqual(referenceVarint(value));
      }
    }
  });

  it("writes no byte after the integer", () => {
    const target = Buffer.alloc(4, 0xaa);

    const end = writeVarint(target, 0, 2_287);

    expect(end).toBe(2);
    expect(target.toString("hex")).toBe("ff7faaaa");
  });
});

describe("reading", () => {
  it.each(known)("returns %i", (value, hex) => {
    const bytes = Buffer.from(hex, "hex");

    expect(new ByteReader(bytes).varint()).toBe(value);
    expect(new ByteReader(bytes).bigVarint()).toBe(BigInt(value));
  });

  it("returns every 64-bit value and stops right after it", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        const bytes = referenceVarint(value);
        const reader = new ByteReader(Buffer.concat([bytes, Buffer.from([0xff])]));
        expect(reader.bigVarint()).toBe(value);
        expect(reader.offset).toBe(bytes.length);
      }),
    );
  });

  it("returns values up to 2^53 - 1 exactly, and larger ones as an unsafe number", () => {
    const values = fc.oneof(
      fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
      fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    );
    fc.assert(
      fc.property(values, (value) => {
        const bytes = referenceVarint(value);
        const reader = new ByteReader(Buffer.concat([bytes, Buffer.from([0xff])]));
        const number = reader.varint();
        expect(reader.offset).toBe(bytes.length);
        if (value < 2n ** 53n) expect(number).toBe(Number(value));
        else expect(number).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
      }),
    );
  });
});
