import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PrimaryOutcome } from "../../../relay/pack/captured-request.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodePack, encodeShare, maxPackRequests, type Pack } from "../../../relay/pack/pack.ts";
import { PackWriter } from "../../../relay/pack/writer.ts";
import {
  comparable,
  expectedRequest,
  packContent,
  packId,
  type RequestParts,
  requestDraft,
} from "../../support/data/captured-requests.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";
import { referenceVarint } from "../../support/spop/reference-varint.ts";

function decode(content: Uint8Array): Pack {
  const pack = decodePack(content);
  if (pack instanceof DecodeError) throw pack;
  return pack;
}

function codeOf(content: Uint8Array): string {
  const pack = decodePack(content);
  return pack instanceof DecodeError ? pack.code : "decoded";
}

const firstMs = Date.UTC(2026, 0, 2);
const text = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const someText = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const headers = fc.array(fc.tuple(someText, text(300)), { maxLength: 6 }).map((list) => list.flat());
const primary: fc.Arbitrary<PrimaryOutcome> = fc.record(
  { status: fc.nat(999), timeMs: fc.maxSafeNat(), bytes: fc.nat(), digest: someText, headers },
  { requiredKeys: [] },
);
const parts: fc.Arbitrary<Partial<RequestParts>> = fc.record(
  {
    id: text(40),
    method: text(20),
    path: text(400),
    version: text(4),
    src: fc.oneof(text(40), fc.uint8Array({ minLength: 4, maxLength: 4 })),
    headers,
    body: fc.uint8Array({ maxLength: 3_000 }),
    bodyState: fc.constantFrom("complete", "truncated", "omitted"),
    primary,
  },
  { requiredKeys: [] },
);

describe("a pack", () => {
  it("round-trips its requests exactly", () => {
    fc.assert(
      fc.property(
        fc.array(parts, { maxLength: 8 }),
        fc.array(fc.nat(100_000), { minLength: 8, maxLength: 8 }),
        (all, gaps) => {
          let atMs = firstMs;
          const requests = all.map((request, i) => {
            atMs += gaps[i];
            return { ...request, capturedAtMs: atMs };
          });
          const pack = decode(packContent({ agent: "edge~1", sequence: 4_711, requests }));
          expect(pack).toMatchObject({ id: packId.toString("hex"), agent: "edge~1", sequence: 4_711, attempt: 0 });
          expect(pack.requests.map(comparable)).toEqual(requests.map(expectedRequest));
        },
      ),
    );
  });

  it.each([
    [[192, 0, 2, 1], "192.0.2.1"],
    [[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "2001:db8::1"],
    [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "::"],
    [[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], "fe80::1:0:0"],
    [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1], "::ffff:c000:201"],
  ])("formats the address %j as %s", (src, expected) => {
    const [request] = decode(packContent({ requests: [{ src: Uint8Array.from(src) }] })).requests;

    expect(request.src).toBe(expected);
  });

  it("makes the id of a request from pack and index if it has none", () => {
    const { requests } = decode(packContent({ requests: [{ id: "" }, { id: "own" }, { id: "" }] }));

    expect(requests.map((request) => request.id)).toEqual([
      `${packId.toString("hex")}-0`,
      "own",
      `${packId.toString("hex")}-2`,
    ]);
  });

  it("keeps figures of 0 and empty headers of the primary", () => {
    const primary = { status: 0, timeMs: 0, bytes: 0, headers: [] };

    expect(decode(packContent({ requests: [{ primary }] })).requests[0].primary).toEqual(primary);
  });

  it("stores no negative time after the clock was set back", () => {
    const requests = [{ capturedAtMs: firstMs }, { capturedAtMs: firstMs - 5_000 }];

    expect(decode(packContent({ requests })).requests.map((request) => request.capturedAtMs)).toEqual([
      firstMs,
      firstMs,
    ]);
  });

  it("refuses a request that does not fit, and stays unchanged", () => {
    const draft = requestDraft({ body: Buffer.alloc(500, 1) });
    const writer = new PackWriter(Buffer.alloc(1_500), { id: packId, agent: "edge", sequence: 1 });

    const taken = [writer.append(draft), writer.append(draft), writer.append(draft)];

    expect(taken).toEqual([true, true, false]);
    expect(writer.count).toBe(2);
    expect(decode(writer.finish()).requests).toHaveLength(2);
  });
});

describe("a share of a pack", () => {
  const pack = decode(
    packContent({ requests: [{ id: "" }, { id: "b", primary: { status: 200 } }, { id: "c", src: "" }, { id: "" }] }),
  );

  it("keeps id, agent, sequence, indexes and records, and counts the attempt", () => {
    const share = decode(encodeShare(pack, [pack.requests[1], pack.requests[3]], 3));

    expect(share).toMatchObject({ id: pack.id, agent: pack.agent, sequence: pack.sequence, attempt: 3 });
    expect(share.requests).toEqual([pack.requests[1], pack.requests[3]]);
  });

  it("can be divided into shares again", () => {
    const share = decode(encodeShare(pack, pack.requests.slice(1), 1));
    const again = decode(encodeShare(share, share.requests.slice(2), 2));

    expect(again.attempt).toBe(2);
    expect(again.requests).toEqual([pack.requests[3]]);
    expect(again.requests[0].id).toBe(`${pack.id}-3`);
  });

  it("with all requests is the pack itself", () => {
    expect(encodeShare(pack, pack.requests, 0)).toEqual(
      packContent({ requests: [{ id: "" }, { id: "b", primary: { status: 200 } }, { id: "c", src: "" }, { id: "" }] }),
    );
  });

  it("stops counting attempts at 255", () => {
    expect(decode(encodeShare(pack, [], 1_000))).toMatchObject({ attempt: 255, requests: [] });
  });
});

describe("decodePack", () => {
  const countAt = 2 + 16 + 6;

  it.each([1, 3, 1_000, maxPackRequests + 1, 0xffff_ffff])(
    "refuses a pack of 2 requests that announces %i",
    (count) => {
      const content = packContent({ requests: [{}, {}] });
      content.writeUInt32BE(count, countAt);

      expect(codeOf(content)).toBe(count === 1 ? "TRAILING_BYTES" : count === 3 ? "TRUNCATED" : "BAD_COUNT");
    },
  );

  it("refuses a count that is too large for the bytes", () => {
    const content = Buffer.concat([packContent({ requests: [] }), Buffer.alloc(100_000)]);
    content.writeUInt32BE(maxPackRequests, countAt);

    expect(codeOf(content)).toBe("BAD_COUNT");
  });

  it.each([
    ["another version", 0, 2, "BAD_VERSION"],
    ["an unknown body state", 0, 3, "BAD_VALUE"],
    ["unknown flags", 0, 32, "BAD_VALUE"],
    ["a missing primary", 0, 8, "TRUNCATED"],
  ])("refuses %s", (mistake, offset, value, code) => {
    const content = packContent({ requests: [{ body: Buffer.alloc(0) }] });
    const recordAt = content.length - decode(content).requests[0].record.length;
    content[mistake === "another version" ? 0 : recordAt + offset] = value;

    expect(codeOf(content)).toBe(code);
  });

  it("refuses an index above the limit", () => {
    const [{ record }] = decode(packContent()).requests;
    for (const index of [BigInt(maxPackRequests), 2n ** 40n, 2n ** 64n - 1n]) {
      const changed = Buffer.concat([record.subarray(0, 1), referenceVarint(index), record.subarray(2)]);
      const content = Buffer.concat([packContent({ requests: [] }), referenceVarint(changed.length), changed]);
      content.writeUInt32BE(1, countAt);
      expect(codeOf(content)).toBe("BAD_VALUE");
    }
  });

  it("refuses a capture time that a Date cannot hold", () => {
    const [{ record }] = decode(packContent()).requests;
    const changed = Buffer.concat([record.subarray(0, 2), referenceVarint(2n ** 62n), record.subarray(3)]);
    const content = Buffer.concat([packContent({ requests: [] }), referenceVarint(changed.length), changed]);
    content.writeUInt32BE(1, countAt);

    expect(codeOf(content)).toBe("BAD_VALUE");
  });

  it("refuses an address of 3 bytes", () => {
    expect(codeOf(packContent({ requests: [{ src: Uint8Array.of(1, 2, 3) }] }))).toBe("BAD_VALUE");
  });

  it("refuses more headers than a million in all requests together", () => {
    const headers = Array.from({ length: 198_000 }, (_, i) => (i % 2 === 0 ? "a" : ""));
    const one = decode(packContent({ requests: [{ headers }] }));
    const repeated = (requests: number) => encodeShare(one, Array(requests).fill(one.requests[0]), 0);

    expect(codeOf(repeated(10))).toBe("decoded");
    expect(codeOf(repeated(11))).toBe("BAD_COUNT");
  });

  it("refuses every truncation, and bytes after the end", () => {
    const content = packContent({ requests: [{ primary: { status: 200, headers: ["a", "b"] } }, {}] });

    for (let bytes = 0; bytes < content.length; bytes++) expect(codeOf(content.subarray(0, bytes))).not.toBe("decoded");
    expect(codeOf(Buffer.concat([content, Buffer.alloc(1)]))).toBe("TRAILING_BYTES");
  });

  it("returns a pack or a DecodeError for any bytes, also after a valid beginning", () => {
    const real = packContent({ requests: [{}, { primary: { status: 200 } }] });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(real.length), (bytes, keep) => {
        const pack = decodePack(Buffer.concat([real.subarray(0, keep), bytes]));
        expect(pack instanceof DecodeError || Array.isArray(pack.requests)).toBe(true);
      }),
    );
  });

  it("returns a pack or a DecodeError for a pack with changed bytes", () => {
    const random = seededRandom(1);
    const real = packContent({ requests: [{ primary: { status: 200, headers: ["a", "b"] } }, {}, { id: "" }] });
    for (let i = 0; i < 5_000; i++) {
      const mutated = Buffer.from(real);
      for (let n = 0; n < 1 + 3 * random(); n++) {
        mutated[Math.floor(random() * mutated.length)] = Math.floor(random() * 256);
      }
      const pack = decodePack(mutated);
      expect(pack instanceof DecodeError || pack.requests.every(({ capturedAtMs }) => capturedAtMs < 8.64e15)).toBe(
        true,
      );
    }
  });
});
