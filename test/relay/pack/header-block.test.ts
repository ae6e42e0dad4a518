import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodeHeaderBlock, encodeHeaderBlock } from "../../../relay/pack/header-block.ts";
import { goldenFiles } from "../../support/spop/golden-frames.ts";
import { plain } from "../../support/spop/spop-frames.ts";

const text = (minLength: number) =>
  fc.uint8Array({ minLength, maxLength: 400 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const headerList = fc.array(fc.tuple(text(1), text(0)), { maxLength: 20 }).map((headers) => headers.flat());

describe("header block", () => {
  it("keeps order, case, repeats, empty values and every byte", () => {
    const headers = ["X-Tag", "a", "x-tag", "b", "X-Tag", "a", "x-empty", "", "x-bytes", "gr\xc3\xbc\xff\x80"];

    expect(decodeHeaderBlock(encodeHeaderBlock(headers))).toEqual(headers);
  });

  it("round-trips any header list, encoded as HAProxy does", () => {
    fc.assert(
      fc.property(headerList, (headers) => {
        const block = encodeHeaderBlock(headers);
        expect(block).toEqual(Buffer.concat(headers.map(plain)));
        expect(decodeHeaderBlock(block)).toEqual(headers);
      }),
    );
  });

  it.each(goldenFiles("notify-get-query"))("decodes the list recorded in $name", ({ frames, messages }) => {
    const recorded = messages[0].args.find((argument) => argument.name === "hdrs")?.headers ?? [];
    const bytes = frames[0];
    const valueAt = bytes.indexOf("\x04hdrs", 0, "latin1") + 6;
    const block = bytes.subarray(valueAt + 1, valueAt + 1 + bytes[valueAt] - 2);

    expect(decodeHeaderBlock(block)).toEqual(recorded);
    expect(encodeHeaderBlock(recorded)).toEqual(block);
  });

  it("decodes an empty block to an empty list", () => {
    expect(decodeHeaderBlock(new Uint8Array())).toEqual([]);
    expect(encodeHeaderBlock([])).toHaveLength(0);
  });

  it.each([
    ["a name without a value", "0161", "TRUNCATED"],
    ["a name that is cut off", "0561", "TRUNCATED"],
    ["a header without a name", "000161", "BAD_VALUE"],
    ["a length without an end", "ffffffffffffffffffffffff", "TOO_LONG"],
  ])("refuses %s", (_case, hex, code) => {
    expect(() => decodeHeaderBlock(Buffer.from(hex, "hex"))).toThrow(expect.objectContaining({ code }));
  });

  it("refuses more than 100,000 headers", () => {
    const block = (headers: number) => Buffer.alloc(3 * headers, "016100", "hex");

    expect(decodeHeaderBlock(block(100_000))).toHaveLength(200_000);
    expect(() => decodeHeaderBlock(block(100_001))).toThrow(expect.objectContaining({ code: "BAD_COUNT" }));
  });

  it("returns a list or throws a DecodeError for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          expect(decodeHeaderBlock(bytes).length % 2).toBe(0);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});
