import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  maxObjectSpanMs,
  openCaptureObject,
  type StoredPack,
  sealCaptureObject,
  storedBytes,
} from "../../../relay/capture/capture-object.ts";
import { maxCaptureMs, parseObjectName, toObjectName } from "../../../relay/capture/object-name.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { maxPackContentBytes, openPack, sealPack } from "../../../relay/pack/envelope.ts";

const hash = "0123456789abcdef0123456789abcdef";
const packs: fc.Arbitrary<StoredPack[]> = fc.array(
  fc
    .record({
      firstMs: fc.nat(maxCaptureMs),
      spanMs: fc.nat(maxObjectSpanMs),
      requests: fc.integer({ min: 1, max: 100_000 }),
      content: fc.uint8Array({ maxLength: 500 }),
    })
    .map(({ firstMs, spanMs, ...rest }) => ({ firstMs, lastMs: firstMs + spanMs, ...rest })),
  { maxLength: 6 },
);

describe("an object of a capture", () => {
  it("returns every byte of its packs", () => {
    fc.assert(
      fc.property(packs, (all) => {
        const opened = openCaptureObject(sealCaptureObject(all));

        expect(opened).toEqual(all.map((pack) => ({ ...pack, content: Buffer.from(pack.content) })));
      }),
    );
  });

  it("is not larger than `storedBytes` estimates", () => {
    fc.assert(
      fc.property(packs, (all) => {
        const bytes = (openPack(sealCaptureObject(all)) as Uint8Array).length;

        expect(bytes).toBeLessThanOrEqual(9 + all.reduce((sum, pack) => sum + storedBytes(pack), 0));
      }),
    );
  });

  it("decodes any bytes to packs or a DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(openCaptureObject(bytes)).toBeInstanceOf(DecodeError);
        for (const content of [bytes, Buffer.concat([Buffer.from("SRCO\x01\0\0\0\x02"), bytes])]) {
          const opened = openCaptureObject(sealPack(content));
          expect(opened instanceof DecodeError || Array.isArray(opened)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["BAD_MAGIC", "5352504f 01 00000000"],
    ["BAD_VERSION", "5352434f 02 00000000"],
    ["BAD_COUNT", "5352434f 01 ffffffff"],
    ["TRUNCATED", "5352434f 01 000000"],
    ["TRAILING_BYTES", "5352434f 01 00000000 00"],
    ["TRUNCATED", "5352434f 01 00000001 000000000000 00 01 05 00"],
    ["BAD_COUNT", "5352434f 01 00000001 000000000000 00 00 00"],
    ["BAD_VALUE", "5352434f 01 00000001 000000000000 f0f0ffff7f 01 00"],
  ])("reports %s for %s", (code, hex) => {
    const opened = openCaptureObject(sealPack(Buffer.from(hex.replaceAll(" ", ""), "hex")));

    expect(opened).toMatchObject({ name: "DecodeError", code });
  });

  it("detects each flipped bit", () => {
    const sealed = sealCaptureObject([{ firstMs: 1, lastMs: 2, requests: 1, content: Buffer.from("content") }]);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3] ^= 1 << (bit & 7);
      expect(openCaptureObject(changed), `bit ${bit}`).toBeInstanceOf(DecodeError);
    }
  });

  it("refuses packs that do not fit into an envelope", () => {
    const content = Buffer.alloc(maxPackContentBytes / 2);
    const pack = { firstMs: 0, lastMs: 0, requests: 1, content };

    expect(() => sealCaptureObject([pack, pack])).toThrow(RangeError);
  });
});

describe("the name of an object", () => {
  const firstMs = Date.UTC(2026, 10, 22, 17, 53, 41, 123);

  it("contains the hour, the times and the number of requests", () => {
    expect(toObjectName("shop", { firstMs, lastMs: firstMs + 20_000, requests: 150 }, hash)).toBe(
      `shop/2026/11/22/17/20261122T175341.123Z~20261122T175401.123Z~150~${hash}.packs`,
    );
  });

  it("parses back to the same object, and sorts by time", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            firstMs: fc.nat(maxCaptureMs),
            spanMs: fc.nat(maxObjectSpanMs),
            requests: fc.integer({ min: 1 }),
          }),
          { minLength: 2 },
        ),
        (all) => {
          const objects = all.map(({ firstMs: first, spanMs, requests }) => ({
            firstMs: first,
            lastMs: Math.min(maxCaptureMs, first + spanMs),
            requests,
          }));
          const names = objects.map((object) => toObjectName("c", object, hash));

          expect(names.map((name) => parseObjectName("c", { name, bytes: 7 }))).toEqual(
            objects.map((object, i) => ({ ...object, name: names[i], bytes: 7 })),
          );
          const times = names.toSorted().map((name) => parseObjectName("c", { name, bytes: 0 })?.firstMs);
          expect(times).toEqual(objects.map((object) => object.firstMs).sort((a, b) => a - b));
        },
      ),
    );
  });

  it.each([
    ["the name of another capture", `d/2026/11/22/17/20261122T175341.123Z~20261122T175341.123Z~1~${hash}.packs`],
    ["the wrong hour", `c/2026/11/22/18/20261122T175341.123Z~20261122T175341.123Z~1~${hash}.packs`],
    ["a day that does not exist", `c/2026/02/30/17/20260230T175341.123Z~20260230T175341.123Z~1~${hash}.packs`],
    ["an end before the start", `c/2026/11/22/17/20261122T175341.123Z~20261122T175341.122Z~1~${hash}.packs`],
    ["more than a minute", `c/2026/11/22/17/20261122T175341.123Z~20261122T175441.124Z~1~${hash}.packs`],
    ["no requests", `c/2026/11/22/17/20261122T175341.123Z~20261122T175341.123Z~0~${hash}.packs`],
    [
      "an end on a day that does not exist",
      `c/2026/11/30/23/20261130T235959.123Z~20261131T000000.122Z~1~${hash}.packs`,
    ],
    [
      "another name before it",
      `c/2026/11/22/17/20261122T175341.123Z~1~c/2026/11/22/17/20261122T175341.123Z~20261122T175341.123Z~1~${hash}.packs`,
    ],
    ["another format", "c/2026/11/22/17/notes.txt"],
  ])("is invalid with %s", (_, name) => {
    expect(parseObjectName("c", { name, bytes: 1 })).toBeUndefined();
  });
});
