import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type DecodedValue,
  decodeTypedData,
  readTypedData,
  type TypedValue,
  writePlainString,
  writeTypedString,
  writeTypedUint32,
} from "../../../agent/spop/typed-data.ts";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import {
  bin,
  bool,
  int32,
  int64,
  ipv4,
  ipv6,
  nul,
  plain,
  str,
  uint32,
  uint64,
} from "../../support/spop/spop-frames.ts";

const address6 = Buffer.from("20010db8000000000000000000000001", "hex");

function decode(bytes: Uint8Array): DecodedValue {
  const reader = new ByteReader(bytes);
  const value = decodeTypedData(reader);
  expect(reader.done).toBe(true);
  return value;
}

function read(bytes: Uint8Array): TypedValue {
  const value: TypedValue = { type: 15, start: 99, end: 99, number: 99 };
  readTypedData(new ByteReader(bytes), value);
  return value;
}

describe("decodeTypedData", () => {
  it.each<[string, Buffer, DecodedValue]>([
    ["NULL", nul, null],
    ["BOOL true", bool(true), true],
    ["BOOL false", bool(false), false],
    ["INT32", int32(-5), -5n],
    ["UINT32", uint32(4_294_967_295), 4_294_967_295n],
    ["INT64 positive", int64(9_223_372_036_854_775_807n), 9_223_372_036_854_775_807n],
    ["INT64 negative", int64(-9_223_372_036_854_775_808n), -9_223_372_036_854_775_808n],
    ["UINT64", uint64(2n ** 64n - 1n), 2n ** 64n - 1n],
    ["IPV4", ipv4(192, 0, 2, 1), Buffer.from([192, 0, 2, 1])],
    ["IPV6", ipv6(address6), address6],
    ["STRING", str("gr\xfc\xdfe\0"), "gr\xfc\xdfe\0"],
    ["STRING, empty", str(""), ""],
    ["BINARY", bin(Buffer.from([0, 255])), Buffer.from([0, 255])],
  ])("decodes %s", (_type, bytes, expected) => {
    expect(decode(bytes)).toEqual(expected);
  });

  it("decodes the -5 in a recording of HAProxy", () => {
    expect(decode(Buffer.from("04fbf0fefefefefefefe0e", "hex"))).toBe(-5n);
  });

  it("decodes every integer with the sign of its type", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        expect(decode(int64(value))).toBe(value);
        expect(decode(uint64(value))).toBe(BigInt.asUintN(64, value));
        expect(decode(int32(BigInt.asIntN(32, value)))).toBe(BigInt.asIntN(32, value));
        expect(decode(uint32(BigInt.asUintN(32, value)))).toBe(BigInt.asUintN(32, value));
      }),
    );
  });

  it.each([10, 11, 12, 13, 14, 15])("refuses the reserved type %i", (type) => {
    expect(() => decodeTypedData(new ByteReader(Buffer.from([type, 0, 0, 0])))).toThrow(
      expect.objectContaining({ code: "UNKNOWN_TYPE", offset: 0 }),
    );
  });

  it.each(["", "04", "04f0", "06010203", `07${"00".repeat(15)}`, "08", "080561", "09ff", "09f0f0fefefefefefefe0e61"])(
    "refuses the truncated value %j",
    (hex) => {
      expect(() => decodeTypedData(new ByteReader(Buffer.from(hex, "hex")))).toThrow(
        expect.objectContaining({ code: "TRUNCATED" }),
      );
    },
  );

  it("returns a value or throws a DecodeError for any bytes, and ends at the same byte as readTypedData", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const [whole, parts] = [new ByteReader(bytes), new ByteReader(bytes)];
        const value: TypedValue = { type: 0, start: 0, end: 0, number: 0 };
        const outcomes = [() => decodeTypedData(whole), () => readTypedData(parts, value)].map((run) => {
          try {
            run();
            return "value";
          } catch (error) {
            expect(error).toBeInstanceOf(DecodeError);
            return (error as DecodeError).code;
          }
        });
        expect(outcomes[0]).toBe(outcomes[1]);
        if (outcomes[0] === "value") expect(whole.offset).toBe(parts.offset);
      }),
    );
  });
});

describe("readTypedData", () => {
  it("sets the bounds of a value and clears the value before it", () => {
    expect(read(str("abc"))).toEqual({ type: 8, start: 2, end: 5, number: 0 });
    expect(read(bin(""))).toEqual({ type: 9, start: 2, end: 2, number: 0 });
    expect(read(ipv4(1, 2, 3, 4))).toEqual({ type: 6, start: 1, end: 5, number: 0 });
    expect(read(ipv6(address6))).toEqual({ type: 7, start: 1, end: 17, number: 0 });
    expect(read(bool(true))).toEqual({ type: 1, start: 1, end: 1, number: 1 });
    expect(read(int64(16_380))).toEqual({ type: 4, start: 4, end: 4, number: 16_380 });
    expect(read(nul)).toEqual({ type: 0, start: 1, end: 1, number: 0 });
  });

  it("ignores flags on a type that has none", () => {
    expect(read(Buffer.from("f80161", "hex"))).toMatchObject({ type: 8, start: 2, end: 3 });
  });
});

describe("writing", () => {
  it("gives the same bytes as the reference", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat({ max: 0xffff_ffff }), (bytes, number) => {
        const text = Buffer.from(bytes).toString("latin1");
        const target = Buffer.alloc(420);
        expect(target.subarray(0, writePlainString(target, 0, text))).toEqual(plain(bytes));
        expect(target.subarray(0, writeTypedString(target, 0, text))).toEqual(str(bytes));
        expect(target.subarray(3, writeTypedUint32(target, 3, number))).toEqual(uint32(number));
      }),
    );
  });
});
