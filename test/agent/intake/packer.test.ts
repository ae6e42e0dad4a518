import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ClosedPack, Packer, type PackerOptions, packBufferBytes } from "../../../agent/intake/packer.ts";
import { createLedger } from "../../../agent/ledger.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodePack, type Pack } from "../../../relay/pack/pack.ts";
import { parseSummary } from "../../../relay/pack/summary.ts";
import { comparable, expectedRequest, requestDraft } from "../../support/data/captured-requests.ts";

interface TestPacker {
  readonly packer: Packer;
  readonly shipped: ClosedPack[];
  readonly ledger: ReturnType<typeof createLedger>;
}

function createPacker(changes: Partial<PackerOptions> = {}): TestPacker {
  const ledger = createLedger();
  const shipped: ClosedPack[] = [];
  let packs = 0;
  const packer = new Packer({
    agent: "edge-1~0badcafe",
    targetBytes: 62 * 1024,
    maxRequests: 1_000,
    lingerMs: 250,
    ledger,
    createId: () => Buffer.alloc(16, ++packs),
    hasRoom: () => true,
    ship: (pack) => shipped.push(pack),
    ...changes,
  });
  return { packer, shipped, ledger };
}

function decode({ content }: ClosedPack): Pack {
  const pack = decodePack(content);
  if (pack instanceof DecodeError) throw pack;
  return pack;
}

const ofBytes = (bytes: number) => requestDraft({ body: Buffer.alloc(bytes, 7) });

describe("Packer", () => {
  it("ships a pack that decodes to exactly the appended requests", () => {
    const { packer, shipped, ledger } = createPacker();
    const requests = [
      { id: "" },
      { method: "PURGE", headers: [] },
      { bodyState: "omitted" as const, primary: { status: 1 } },
    ];

    for (const request of requests) packer.append(requestDraft(request));
    packer.close();

    expect(decode(shipped[0]).requests.map(comparable)).toEqual(
      requests.map((request, i) => ({
        ...expectedRequest(request, i),
        ...(request.id === "" && { id: `${"01".repeat(16)}-${i}` }),
      })),
    );
    expect(ledger.pending).toBe(3);
  });

  it("describes the pack in a summary that can be parsed", () => {
    const { packer, shipped } = createPacker();
    packer.append(requestDraft({ capturedAtMs: 1_000 }));
    packer.append(requestDraft({ capturedAtMs: 3_500 }));
    packer.close();

    const [{ content, summary }] = shipped;

    expect(summary).toEqual({
      v: 1,
      pack: "01".repeat(16),
      agent: "edge-1~0badcafe",
      seq: 1,
      count: 2,
      bytes: content.length,
      first: "1970-01-01T00:00:01.000Z",
      last: "1970-01-01T00:00:03.500Z",
    });
    expect(parseSummary(JSON.stringify(summary))).toEqual(summary);
  });

  it("closes a pack when it has the maximum number of requests", () => {
    const { packer, shipped } = createPacker({ maxRequests: 3 });

    for (let i = 0; i < 7; i++) packer.append(requestDraft());

    expect(shipped.map(({ summary }) => summary.count)).toEqual([3, 3]);
  });

  it("closes a pack when the next request would make it too large", () => {
    const { packer, shipped } = createPacker({ targetBytes: 10_000 });

    for (let i = 0; i < 10; i++) packer.append(ofBytes(9_000));
    packer.close();

    // Three times the compressed size to aim for: the initial ratio, because no pack has been measured yet.
    expect(shipped.map(({ summary }) => summary.count)).toEqual([3, 3, 3, 1]);
    for (const { content } of shipped) expect(content.length).toBeLessThanOrEqual(30_000);
  });

  it("makes larger packs once packs of this traffic compress well", () => {
    const { packer, shipped } = createPacker({ targetBytes: 10_000 });

    for (let i = 0; i < 100; i++) packer.learnRatio(30_000, 3_000);
    packer.learnRatio(1_000, 1_000);
    for (let i = 0; i < 12; i++) packer.append(ofBytes(9_000));

    expect(shipped.map(({ summary }) => summary.count)).toEqual([10]);
  });

  it("closes a pack when its first request has waited for the linger time, and not before", () => {
    let uptimeMs = 5_000;
    const { packer, shipped } = createPacker({ uptimeMs: () => uptimeMs });
    packer.append(requestDraft({ capturedAtMs: 1_000 }));
    uptimeMs += 200;
    // The clock was set back meanwhile.
    packer.append(requestDraft({ capturedAtMs: 850 }));

    uptimeMs += 49;
    packer.closeIfDue();
    const before = shipped.length;
    uptimeMs += 1;
    packer.closeIfDue();

    expect([before, shipped.length]).toEqual([0, 1]);
  });

  it("ships nothing if no pack is open", () => {
    const { packer, shipped } = createPacker();

    packer.close();
    packer.closeIfDue();

    expect(shipped).toEqual([]);
  });

  it("numbers its packs without gaps, whatever closes them", () => {
    const { packer, shipped } = createPacker({ maxRequests: 3, targetBytes: 1_000 });
    fc.assert(
      fc.property(fc.array(fc.nat(3_000), { maxLength: 20 }), (sizes) => {
        for (const bytes of sizes) packer.append(ofBytes(bytes));
        packer.close();
      }),
    );

    const sequences = shipped.map((pack) => decode(pack).sequence);

    expect(sequences).toEqual(shipped.map((_, i) => i + 1));
    expect(shipped.map(({ summary }) => summary.seq)).toEqual(sequences);
    expect(new Set(shipped.map(({ summary }) => summary.pack)).size).toBe(Math.min(shipped.length, 256));
  });

  it.each([packBufferBytes - 300, packBufferBytes, 3 * packBufferBytes])(
    "puts a request of %i bytes whole into a pack of its own",
    (bytes) => {
      const { packer, shipped } = createPacker();
      packer.append(ofBytes(10));
      packer.append(ofBytes(bytes));
      packer.append(ofBytes(20));
      packer.close();

      const bodies = shipped.map((pack) => decode(pack).requests.map(({ body }) => body.length));

      expect(bodies).toEqual([[10], [bytes], [20]]);
    },
  );

  it("drops and counts new requests while there is no room, and continues afterwards", () => {
    let room = true;
    const { packer, shipped, ledger } = createPacker({ hasRoom: () => room });
    packer.append(requestDraft({ id: "first" }));
    room = false;
    packer.append(requestDraft({ id: "dropped" }));
    packer.append(requestDraft({ id: "also dropped" }));
    room = true;
    packer.append(requestDraft({ id: "last" }));
    packer.close();

    expect(decode(shipped[0]).requests.map(({ id }) => id)).toEqual(["first", "last"]);
    expect(ledger.dropped).toEqual(new Map([["buffer full", 2]]));
    expect(ledger.pending).toBe(2);
  });

  it("writes the same pack into a reused buffer as into a new one", () => {
    const { packer, shipped } = createPacker();
    packer.append(ofBytes(100_000));
    packer.close();
    const recycled = shipped[0].content.buffer;
    Buffer.from(recycled).fill(0xff);
    packer.recycle(recycled);
    packer.append(requestDraft({ id: "x" }));
    packer.append(ofBytes(80_000));
    packer.close();

    expect(shipped[1].content.buffer).toBe(recycled);
    expect(decode(shipped[1]).requests[0].id).toBe("x");
  });

  it("ships a small pack in a buffer of its own size, and keeps the large buffer for the next pack", () => {
    const { packer, shipped } = createPacker();
    packer.append(requestDraft({ id: "x" }));
    packer.close();
    packer.append(requestDraft({ id: "y" }));
    packer.append(ofBytes(80_000));
    packer.close();

    expect(shipped[0].content.buffer.byteLength).toBe(shipped[0].content.length);
    expect(decode(shipped[0]).requests.map(comparable)).toEqual([expectedRequest({ id: "x" }, 0)]);
    expect(decode(shipped[1]).requests[0].id).toBe("y");
  });

  it("does not reuse buffers of another size", () => {
    const { packer, shipped } = createPacker();
    const odd = new ArrayBuffer(10);

    packer.recycle(odd);
    packer.append(requestDraft());
    packer.close();

    expect(shipped[0].content.buffer).not.toBe(odd);
  });

  it("ships exactly the appended requests, for any bodies", () => {
    const body = fc.uint8Array({ maxLength: 2_000 });
    fc.assert(
      fc.property(fc.array(body, { maxLength: 40 }), fc.integer({ min: 1, max: 9 }), (bodies, maxRequests) => {
        const { packer, shipped, ledger } = createPacker({ maxRequests, targetBytes: 1_500 });
        for (const [i, bytes] of bodies.entries()) packer.append(requestDraft({ id: `r${i}`, body: bytes }));
        packer.close();
        const requests = shipped.flatMap((pack) => decode(pack).requests);
        expect(requests.map(({ id }) => id)).toEqual(bodies.map((_, i) => `r${i}`));
        expect(requests.map(({ body }) => Uint8Array.from(body))).toEqual(bodies);
        expect(ledger.pending).toBe(bodies.length);
      }),
    );
  });
});
