import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { draftBytes, PackWriter } from "../../../relay/pack/writer.ts";
import { packContent, packId, type RequestParts, requestDraft } from "../../support/data/captured-requests.ts";

// Lengths and numbers around the steps of a variable-length integer, which are 240 and 2288.
const size = fc.oneof(fc.nat(40), fc.integer({ min: 235, max: 245 }), fc.integer({ min: 2_283, max: 2_293 }));
const text = size.map((length) => "x".repeat(length));
const parts: fc.Arbitrary<Partial<RequestParts>> = fc.record(
  {
    id: text,
    method: text,
    path: text,
    version: text,
    src: text,
    headers: fc.array(text, { maxLength: 2 }).map((values) => values.flatMap((value) => ["a", value])),
    body: size.map((length) => Buffer.alloc(length)),
    primary: fc.record(
      { status: size, timeMs: size, bytes: size, digest: text, headers: text.map((value) => ["a", value]) },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);
const gaps = fc.array(size, { minLength: 5, maxLength: 5 });

describe("a pack writer", () => {
  it("fills its buffer to the last byte, and never beyond", () => {
    fc.assert(
      fc.property(fc.array(parts, { minLength: 1, maxLength: 5 }), gaps, (all, gaps) => {
        let capturedAtMs = Date.UTC(2026, 0, 2);
        const requests = all.map((request, i) => {
          capturedAtMs += gaps[i];
          return { ...request, capturedAtMs };
        });
        const content = packContent({ agent: "edge", sequence: 7, requests });

        const exact = writerOf(content.length);
        expect(requests.map((request) => exact.append(requestDraft(request)))).not.toContain(false);
        expect(exact.bytes).toBe(content.length);
        expect(exact.finish().equals(content)).toBe(true);

        const short = writerOf(content.length - 1);
        const taken = requests.map((request) => short.append(requestDraft(request)));
        expect([taken.at(-1), short.count]).toEqual([false, requests.length - 1]);
      }),
    );
  });

  it("takes any request into a buffer of headerBytes and draftBytes", () => {
    fc.assert(
      fc.property(parts, text, fc.maxSafeNat(), (request, agent, sequence) => {
        const draft = requestDraft(request);
        const buffer = Buffer.alloc(PackWriter.headerBytes(agent) + draftBytes(draft));

        expect(new PackWriter(buffer, { id: packId, agent, sequence }).append(draft)).toBe(true);
      }),
    );
  });

  it("knows the capture times of its first and its last request", () => {
    const writer = writerOf(1_000);

    for (const capturedAtMs of [5_000, 7_000]) writer.append(requestDraft({ capturedAtMs }));

    expect([writer.firstCapturedAtMs, writer.lastCapturedAtMs]).toEqual([5_000, 7_000]);
  });
});

function writerOf(bytes: number): PackWriter {
  return new PackWriter(Buffer.alloc(bytes), { id: packId, agent: "edge", sequence: 7 });
}
