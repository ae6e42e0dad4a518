import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toPacks } from "../../../relay/capture/request-packs.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { comparable } from "../../support/data/captured-requests.ts";

const numbering = { agent: "import", sequence: 7 };
const startMs = Date.UTC(2026, 10, 22);

describe("packs of requests", () => {
  it("hold every request unchanged, ordered by time", () => {
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 40 }), (drawn) => {
        const requests = drawn.map((each, index) => ({ ...each, index, id: `r${index}` }));
        const packs = toPacks(requests, numbering);

        const packed = packs.flatMap((pack) => pack.requests.map((each) => ({ ...comparable(each), index: 0 })));
        const sorted = requests.toSorted((a, b) => a.capturedAtMs - b.capturedAtMs);
        expect(packed).toEqual(sorted.map((each) => ({ ...comparable(each), index: 0 })));
        expect(packs.map(({ sequence }) => sequence)).toEqual(packs.map((_, i) => 7 + i));
      }),
    );
  });

  it("have the same id exactly for the same requests and numbering", () => {
    const of = (path: string, sequence = 1) => toPacks([plain({ path })], { agent: "import", sequence })[0].id;

    expect(of("/a")).toBe(of("/a"));
    expect(new Set([of("/a"), of("/b"), of("/a", 2)]).size).toBe(3);
  });

  it("give an id to requests without one", () => {
    const [pack] = toPacks([plain({ id: "" }), plain({ id: "", index: 1 })], numbering);

    expect(pack.requests.map(({ id }) => id)).toEqual([`${pack.id}-0`, `${pack.id}-1`]);
  });

  it.each([
    ["a thousand requests", 2_500, {}, 0, [1_000, 1_000, 500]],
    ["a megabyte", 5, { body: new Uint8Array(400_000) }, 0, [2, 2, 1]],
    ["one request if it is larger than a megabyte", 2, { body: new Uint8Array(3_000_000) }, 0, [1, 1]],
    ["a minute", 5, {}, 30_000, [3, 2]],
  ])("hold at most %s", (_, count, changes, gapMs, expected) => {
    const requests = Array.from({ length: count }, (_each, index) =>
      plain({ ...changes, index, capturedAtMs: startMs + index * gapMs }),
    );

    expect(toPacks(requests, numbering).map((pack) => pack.requests.length)).toEqual(expected);
  });

  it("are an empty list without requests", () => {
    expect(toPacks([], numbering)).toEqual([]);
  });
});

const latin1 = fc
  .array(fc.integer({ min: 0, max: 255 }), { maxLength: 20 })
  .map((bytes) => String.fromCharCode(...bytes));
const name = latin1.filter((text) => text !== "");
const headers = fc.array(fc.tuple(name, latin1), { maxLength: 5 }).map((pairs) => pairs.flat());
const primary = fc.record(
  {
    status: fc.integer({ min: 0, max: 999 }),
    timeMs: fc.nat(),
    bytes: fc.nat(),
    digest: name,
    headers,
  },
  { requiredKeys: [] },
);

const request: fc.Arbitrary<CapturedRequest> = fc.record(
  {
    id: fc.constant("r"),
    index: fc.constant(0),
    capturedAtMs: fc.integer({ min: startMs, max: startMs + 200_000 }),
    method: name,
    path: latin1,
    version: latin1,
    src: latin1,
    headers,
    body: fc.uint8Array({ maxLength: 50 }),
    bodyState: fc.constantFrom("complete", "truncated", "omitted"),
    primary,
  },
  { requiredKeys: ["id", "index", "capturedAtMs", "method", "path", "version", "src", "headers", "body", "bodyState"] },
);

function plain(changes: Partial<CapturedRequest>): CapturedRequest {
  const parts = { method: "GET", path: "/", version: "1.1", src: "", headers: [], bodyState: "complete" } as const;
  return { id: "r", index: 0, capturedAtMs: startMs, ...parts, body: new Uint8Array(), ...changes };
}
