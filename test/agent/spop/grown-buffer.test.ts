import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { growBuffer } from "../../../agent/spop/grown-buffer.ts";

const MiB = 1024 * 1024;

describe("a buffer that grows with the bytes that arrive", () => {
  it("has at most four times the bytes that it needs, keeps them, and copies each about once", () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(pieces, fc.integer({ min: 16 * MiB, max: 48 * MiB }), (sizes, mostBytes) => {
        let buffer: Buffer = Buffer.alloc(0);
        let used = 0;
        let copied = 0;
        for (const [i, bytes] of sizes.entries()) {
          if (used + bytes > buffer.length) {
            const grown = growBuffer(buffer, used, used + bytes, mostBytes);
            copied += used > 256 * 1024 ? used : 0;
            expect(grown.length).toBeGreaterThanOrEqual(used + bytes);
            expect(grown.length).toBeLessThanOrEqual(Math.max(16 * 1024, 4 * (used + bytes)));
            expect(grown.subarray(0, used).equals(buffer.subarray(0, used))).toBe(true);
            buffer = grown;
          }
          buffer.fill(i, used, used + bytes);
          used += bytes;
        }
        expect(copied).toBeLessThanOrEqual((4 / 3) * used);
      }),
      { numRuns: 20 },
    );
  });

  it("is never larger than the message may be", () => {
    expect(growBuffer(Buffer.alloc(4 * MiB), 4 * MiB, 4 * MiB + 1, 5 * MiB)).toHaveLength(5 * MiB);
  });
});
