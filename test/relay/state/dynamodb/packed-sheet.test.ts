import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packSheet, unpackSheet } from "../../../../relay/state/dynamodb/packed-sheet.ts";
import { noteFates, reopenRequests } from "../../../../relay/state/fate-sheet.ts";
import { fates } from "../../../../relay/state/port.ts";

const anySheet = fc.oneof(
  fc.uint8Array({ maxLength: 2_000 }),
  fc.array(fc.constantFrom(0, 1, 4, 6), { maxLength: 2_000 }).map((codes) => Uint8Array.from(codes)),
  fc
    .array(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 400 })), { maxLength: 10 })
    .map((runs) => Uint8Array.from(runs.flatMap(([code, length]) => Array<number>(length).fill(code)))),
);

describe("packSheet", () => {
  it("keeps every byte of any sheet, and adds one at most", () => {
    fc.assert(
      fc.property(anySheet, (sheet) => {
        const packed = packSheet(sheet);

        expect(Buffer.from(unpackSheet(packed))).toEqual(Buffer.from(sheet));
        expect(packed.length).toBeLessThanOrEqual(sheet.length + 1);
        expect(packSheet(unpackSheet(packed))).toEqual(packed);
      }),
    );
  });

  it("needs a few bytes for a pack that has one fate, and a bit a request for two fates", () => {
    const whole = noteFates(new Uint8Array(), new Map(Array.from({ length: 150 }, (_, i) => [i, "answered.2xx"])));
    const half = noteFates(new Uint8Array(150), new Map(Array.from({ length: 75 }, (_, i) => [2 * i, "sampledOut"])));

    expect(packSheet(whole.sheet).length).toBe(3);
    expect(packSheet(half.sheet).length).toBeLessThan(150 / 8 + 7);
  });

  it("keeps the sheets of redriven requests", () => {
    const dead = noteFates(new Uint8Array(), new Map(fates.map((_, i) => [i, "deadLettered"])));
    const { sheet } = reopenRequests(dead.sheet, [1, 3], 2);

    expect(Buffer.from(unpackSheet(packSheet(sheet)))).toEqual(Buffer.from(sheet));
  });

  it("refuses a form that it does not know", () => {
    expect(() => unpackSheet(Uint8Array.of(9, 1))).toThrow("does not know");
  });
});
