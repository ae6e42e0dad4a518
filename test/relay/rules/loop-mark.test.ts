import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeaderScan } from "../../../agent/intake/header-scan.ts";
import { createLoopMark, isLoopMark, type LoopGuard, unsignedGuard } from "../../../relay/rules/loop-mark.ts";
import { headersBinary, headersText } from "../../support/spop/spop-frames.ts";

const keys = ["the first of the keys", "the second of the keys"];
const guard: LoopGuard = { header: "x-mirror-id", keys };
// What a header may hold.
const ids = fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength: 60 }).map(toFieldValue);

describe("the mark of a replay", () => {
  it("is recognised by every agent that has the key, among its first or its last keys", () => {
    fc.assert(
      fc.property(ids, fc.constantFrom(...keys), (id, key) => {
        const mark = createLoopMark({ ...guard, keys: [key, "another key of the sender"] }, id);
        expect(arrivals(guard, mark)).toEqual([true, true]);
        expect(arrivals({ ...guard, keys: ["a key of somebody else"] }, mark)).toEqual([false, false]);
      }),
    );
  });

  it("is the id and the first 128 bits of HMAC-SHA-256 in base64url", () => {
    fc.assert(
      fc.property(ids, fc.constantFrom(...keys), (id, key) => {
        const bare = id.replace(/^[ \t]+/, "");
        const signature = hmac(key, Buffer.from(bare, "latin1")).subarray(0, 17).toString("base64url").slice(0, 22);
        expect(createLoopMark({ ...guard, keys: [key] }, id)).toBe(`${bare}.${signature}`);
      }),
    );
  });

  it("cannot be made of another by changing a character, cutting it or adding to it", () => {
    const change = fc.tuple(fc.nat(100), fc.nat(1), fc.constantFrom("", "A", "b", ".", "-"));
    fc.assert(
      fc.property(ids, change, (id, [at, cut, text]) => {
        const mark = createLoopMark(guard, id);
        const place = at % (mark.length + 1);
        const changed = withoutBlanks(mark.slice(0, place) + text + mark.slice(place + cut));
        fc.pre(changed !== withoutBlanks(mark));
        expect(arrivals(guard, changed)).toEqual([false, false]);
      }),
    );
  });

  it("is not the bare id, nor longer than 4 KiB, if there are keys; without keys it is whatever the header holds", () => {
    const long = createLoopMark(guard, "i".repeat(5_000));
    for (const value of ["", "1", ".", "x".repeat(22), `.${"x".repeat(22)}`, "4b1d-1", long]) {
      expect(arrivals(guard, value)).toEqual([false, false]);
      expect(arrivals(unsignedGuard, value)).toEqual([true, true]);
    }
  });

  it("counts only in the first header of its name", () => {
    const scan = new HeaderScan(guard);
    const mark = createLoopMark(guard, "1");
    scanAll(scan, ["x-mirror-id", "1", "X-Mirror-Id", mark]);
    expect([scan.claimsLoop, scan.looped]).toEqual([true, false]);
    scanAll(scan, ["X-MIRROR-ID", mark, "x-mirror-id", "1"]);
    expect([scan.claimsLoop, scan.looped]).toEqual([true, true]);
    scanAll(scan, ["a", "1"]);
    expect([scan.claimsLoop, scan.looped]).toEqual([false, false]);
  });

  it("is in the configured header only, whatever the length of its name", () => {
    for (const header of ["x", "host-1", "content-lengtx", "x".repeat(31)]) {
      const scan = new HeaderScan({ header, keys: [] });
      scanAll(scan, ["x-mirror-id", "1", "content-length", "3"]);
      expect([scan.looped, scan.contentLength]).toEqual([false, 3]);
      scanAll(scan, [header.toUpperCase(), "1", "content-length", "3"]);
      expect([scan.looped, scan.contentLength]).toEqual([true, 3]);
    }
  });
});

describe("isLoopMark", () => {
  it("never throws, and reads no byte outside of the value", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), fc.nat(80), (bytes, a, b) => {
        const [start, end] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
        expect(isLoopMark(guard, bytes, start, end)).toBe(false);
      }),
    );
  });
});

/** Whether the agent takes a request with this mark for a replayed one: in the two forms of HAProxy's header lists. */
function arrivals(at: LoopGuard, mark: string): boolean[] {
  const scan = new HeaderScan(at);
  // HAProxy drops the blanks around a value.
  const headers = ["host", "a", at.header, withoutBlanks(mark)];
  scanAll(scan, headers);
  const binary = scan.looped;
  const text = Buffer.from(headersText(headers), "latin1");
  scan.scanText(text, 0, text.length);
  return [binary, scan.looped];
}

function scanAll(scan: HeaderScan, headers: readonly string[]): void {
  const bytes = headersBinary(headers);
  scan.scanBinary(bytes, 0, bytes.length);
}

function withoutBlanks(value: string): string {
  return value.replace(/^[ \t]+|[ \t]+$/g, "");
}

function toFieldValue(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, "-");
}

/** RFC 2104, from the hash alone. */
function hmac(key: string, text: Uint8Array): Buffer {
  const block = Buffer.alloc(64);
  block.write(key);
  const hash = (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest();
  const inner = hash(
    block.map((byte) => byte ^ 0x36),
    text,
  );
  return hash(
    block.map((byte) => byte ^ 0x5c),
    inner,
  );
}
