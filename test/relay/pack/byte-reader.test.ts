import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { asBuffer, ByteReader } from "../../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { plain } from "../../support/spop/spop-frames.ts";

function codeOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (error instanceof DecodeError) return error.code;
    throw error;
  }
  return "no error";
}

const reads = ["u8", "u32", "varint", "bigVarint", "block", "latin1"] as const;

describe("ByteReader", () => {
  it("reads big-endian numbers without a sign", () => {
    const reader = new ByteReader(Buffer.from("ff80000001", "hex"));

    expect(reader.u8()).toBe(255);
    expect(reader.u32()).toBe(0x8000_0001);
    expect(reader.done).toBe(true);
  });

  it("reads nothing beyond its end", () => {
    const reader = new ByteReader(Buffer.from("0102030405", "hex"), 1, 3);

    expect(reader.u8()).toBe(2);
    expect(codeOf(() => reader.u32())).toBe("TRUNCATED");
    expect(reader.u8()).toBe(3);
    expect(codeOf(() => reader.u8())).toBe("TRUNCATED");
  });

  it("reports the offset after a length that is too large", () => {
    const reader = new ByteReader(Buffer.from("00056162", "hex"), 1);

    expect(() => reader.block()).toThrow(expect.objectContaining({ code: "TRUNCATED", offset: 2 }));
    expect(() => reader.skip(5)).toThrow("5 bytes announced, 2 left at byte 2 (TRUNCATED)");
  });

  it.each(["f0", "f080", "ff80ff"])("reports the truncated integer %s", (hex) => {
    expect(codeOf(() => new ByteReader(Buffer.from(hex, "hex")).varint())).toBe("TRUNCATED");
    expect(codeOf(() => new ByteReader(Buffer.from(hex, "hex")).bigVarint())).toBe("TRUNCATED");
  });

  it("rejects an integer of more than 10 bytes", () => {
    const endless = Buffer.alloc(64, 0xff);

    expect(codeOf(() => new ByteReader(endless).varint())).toBe("TOO_LONG");
    expect(codeOf(() => new ByteReader(endless).bigVarint())).toBe("TOO_LONG");
  });

  it("rejects an integer that ends with its 11th byte", () => {
    const tooLong = Buffer.from("f0808080808080808080" + "01", "hex");

    expect(codeOf(() => new ByteReader(tooLong).varint())).toBe("TOO_LONG");
    expect(codeOf(() => new ByteReader(tooLong).bigVarint())).toBe("TOO_LONG");
  });

  it("rejects a length above 2^53", () => {
    const bytes = Buffer.from("f0f0fefefefefefefe0e6162", "hex");

    expect(codeOf(() => new ByteReader(bytes).block())).toBe("TRUNCATED");
  });

  it("reads strings byte for byte", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 5 }), (parts) => {
        const bytes = Buffer.concat(parts.map(plain));
        const asText = new ByteReader(bytes);
        const asBlocks = new ByteReader(Uint8Array.from(bytes));
        for (const part of parts) {
          expect(Buffer.from(asText.latin1(), "latin1")).toEqual(Buffer.from(part));
          expect(Uint8Array.from(asBlocks.block())).toEqual(part);
        }
        expect([asText.done, asBlocks.done]).toEqual([true, true]);
      }),
    );
  });

  it("returns a value or throws a DecodeError for any bytes, and stays in bounds", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(fc.constantFrom(...reads)), (bytes, calls) => {
        const reader = new ByteReader(bytes);
        for (const call of calls) codeOf(() => reader[call]());
        expect(reader.offset).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });

  it("reads other bytes after a reset", () => {
    const reader = new ByteReader(Buffer.from("0102", "hex"));

    reader.reset(Buffer.from("000003", "hex"), 2, 3);

    expect(reader.u8()).toBe(3);
    expect(reader.done).toBe(true);
  });
});

describe("asBuffer", () => {
  it("shares the memory of its input", () => {
    const bytes = new Uint8Array([1, 2, 3]).subarray(1);

    asBuffer(bytes)[0] = 9;

    expect([...bytes]).toEqual([9, 3]);
  });
});
