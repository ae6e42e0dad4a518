import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fragments } from "../../../agent/spop/fragments.ts";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";

const limitBytes = 1_000;
const key = fc.constantFrom("a", "b", "c");
const bytes = fc.oneof(fc.nat(400), fc.constantFrom(0, limitBytes, limitBytes + 1));
const step = fc.oneof(
  fc.record({ kind: fc.constantFrom("begin", "add"), key, bytes }),
  fc.record({ kind: fc.constantFrom("finish", "drop"), key, bytes: fc.constant(0) }),
);

describe("Fragments", () => {
  it("join each message up to a limit for all, and keep nothing of one that exceeds it", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const fragments = new Fragments(limitBytes);
        // The oracle: the content of unfinished messages; undefined once a message is too large.
        const begun = new Map<string, string | undefined>();
        const used = () => [...begun.values()].reduce((sum, content) => sum + (content?.length ?? 0), 0);
        for (const [i, { kind, key, bytes }] of steps.entries()) {
          const content = String.fromCharCode(65 + (i % 26)).repeat(bytes);
          const reader = new ByteReader(Buffer.from(`<${content}>`), 1, 1 + bytes);
          const before = begun.get(key);
          const after = before !== undefined && used() + bytes <= limitBytes ? before + content : undefined;
          if (kind === "begin") {
            expect(fragments.begin(key, reader)).toBe(!begun.has(key));
            if (!begun.has(key)) begun.set(key, used() + bytes <= limitBytes ? content : undefined);
          } else if (kind === "add") {
            fragments.add(key, reader);
            if (begun.has(key)) begun.set(key, after);
          } else if (kind === "finish") {
            expect(fragments.finish(key)?.toString()).toBe(before);
            begun.delete(key);
          } else {
            fragments.drop(key);
            begun.delete(key);
          }
          expect([fragments.count, fragments.has(key)]).toEqual([begun.size, begun.has(key)]);
          // The first bytes of a message allocate as much as is left of the limit, with a little for Node.
          const held = [...begun.values()].filter((content) => content).length;
          expect(fragments.heldBytes).toBeGreaterThanOrEqual(used());
          expect(fragments.heldBytes).toBeLessThanOrEqual(512 * begun.size + held * (limitBytes + 256));
        }
      }),
    );
  });
});
