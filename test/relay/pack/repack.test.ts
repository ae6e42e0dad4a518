import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodePack, encodeShare } from "../../../relay/pack/pack.ts";
import { repack } from "../../../relay/pack/repack.ts";
import { packContent, type RequestParts } from "../../support/data/captured-requests.ts";

const text = fc.string({ unit: "binary-ascii", maxLength: 300 });
const parts: fc.Arbitrary<Partial<RequestParts>> = fc.record(
  {
    id: text,
    path: text,
    src: fc.oneof(text, fc.uint8Array({ minLength: 4, maxLength: 4 })),
    body: fc.uint8Array({ maxLength: 300 }),
    bodyState: fc.constantFrom("complete", "truncated", "omitted"),
    primary: fc.record({ status: fc.nat(999), headers: fc.constant(["set-cookie", "a=1"]) }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);

describe("repack", () => {
  it("keeps ids, times and every other part of the requests, and numbers them anew", () => {
    fc.assert(
      fc.property(
        fc.array(parts, { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(100_000), { minLength: 6, maxLength: 6 }),
        fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
        (all, gaps, kept) => {
          let capturedAtMs = Date.UTC(2026, 0, 2);
          const requests = all.map((request, i) => {
            capturedAtMs += gaps[i];
            return { ...request, capturedAtMs };
          });
          const old = decode(packContent({ requests }));
          // The first one always: a pack has at least one.
          const chosen = old.requests.filter((_request, i) => i === 0 || kept[i]);
          const identity = { id: Buffer.alloc(16, 0xab), agent: "captured~1", sequence: 2 ** 40 };

          const fresh = repack(identity, chosen);
          const read = decode(encodeShare(fresh, fresh.requests, 0));

          expect(read).toMatchObject({ id: "ab".repeat(16), agent: "captured~1", sequence: 2 ** 40, attempt: 0 });
          expect(read.requests.map(withoutRecord)).toEqual(
            chosen.map((request, index) => ({ ...withoutRecord(request), index })),
          );
          expect(fresh.requests.map(({ record }) => record)).toEqual(read.requests.map(({ record }) => record));
        },
      ),
    );
  });
});

function decode(content: Uint8Array) {
  const pack = decodePack(content);
  if (pack instanceof DecodeError) throw pack;
  return pack;
}

function withoutRecord<T extends { readonly record: Uint8Array }>({ record: _record, ...request }: T) {
  return request;
}
