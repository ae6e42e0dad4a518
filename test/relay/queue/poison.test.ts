import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { poisonMessage } from "../../../relay/queue/poison.ts";
import { maxMessageBytes } from "../../../relay/queue/port.ts";
import { findRefusal } from "../../support/aws/sqs-rules.ts";
import { delivery, packMessage, requests } from "../../support/data/packs.ts";

// SQS also counts the name and the type of the pack's attribute.
const queue = { maxMessageBytes: maxMessageBytes - "packBinary".length };
const reason = "this is not a pack: it does not begin with SRPK";

describe("poisonMessage", () => {
  it("keeps the bytes and the fields of the body, and adds the reason", () => {
    const sent = { ...packMessage({ requests: requests(3) }), pack: Buffer.from("garbage") };
    const poison = poisonMessage(delivery(sent), "no pack", queue);

    expect(poison).toMatchObject({ pack: sent.pack, requests: 3 });
    expect(JSON.parse(poison.body)).toEqual({ ...JSON.parse(sent.body), reason: "no pack" });
  });

  it.each(["", "{", "[]", '{"v":1,"count":-1}', "x".repeat(500_000)])("keeps the whole body %.20j", (body) => {
    const poison = poisonMessage({ body, pack: Buffer.alloc(0) }, "no pack", queue);

    expect(poison.requests).toBe(0);
    expect(JSON.parse(poison.body)).toEqual({ reason: "no pack", body });
  });

  it("keeps as much of a body as fits, and says how long it was", () => {
    const body = "😀".repeat(262_143);
    const poison = poisonMessage({ body, pack: Buffer.alloc(0) }, reason, queue);

    const kept = JSON.parse(poison.body);
    expect(kept).toMatchObject({ reason, bodyBytes: 1_048_572 });
    expect(body.startsWith(kept.body)).toBe(true);
    expect(Buffer.byteLength(poison.body)).toBeGreaterThan(queue.maxMessageBytes - 4);
  });

  it("keeps all bytes of a pack without room for a reason beside its summary, and the marks of the summary", () => {
    const { body } = packMessage({ requests: requests(1) });
    const marked = JSON.stringify({ ...JSON.parse(body), job: { id: "20261122-175341-k3f", base: 7 } });
    const pack = Buffer.alloc(queue.maxMessageBytes - Buffer.byteLength(marked), 7);
    const poison = poisonMessage({ body: marked, pack }, reason, queue);

    expect(poison.pack).toBe(pack);
    expect(poison.requests).toBe(1);
    expect(JSON.parse(poison.body)).toEqual({ v: 1, job: { id: "20261122-175341-k3f", base: 7 }, reason });
  });

  it("is accepted by SQS with a readable reason, whatever SQS accepted before", () => {
    fc.assert(
      fc.property(
        foreignMessage,
        fc.string({ unit: "binary", minLength: 1, maxLength: 1_500 }),
        ({ body, pack }, why) => {
          const accepted = findRefusal(toEntry(body, pack)) === undefined;
          fc.pre(accepted);
          const poison = poisonMessage({ body, pack }, why, queue);

          expect(findRefusal(toEntry(poison.body, poison.pack))).toBeUndefined();
          const { reason: shown, body: kept = "" } = JSON.parse(poison.body);
          expect(shown.length).toBeGreaterThan(0);
          expect(Buffer.compare(pack.subarray(0, poison.pack.length), poison.pack)).toBe(0);
          if (typeof kept === "string") expect(body.startsWith(kept)).toBe(true);
          const spare = maxMessageBytes - Buffer.byteLength(body) * 2 - pack.length;
          if (spare > 8_000) expect([kept, poison.pack.length]).toEqual([body, pack.length]);
        },
      ),
      { numRuns: 150 },
    );
  });
});

const bodyText = fc.oneof(
  fc.string({ unit: "binary", minLength: 1, maxLength: 200 }),
  fc.constantFrom('"', "\\", "\t", "\n", "é", "€", "😀", "\u007f", "x").map((char) => char.repeat(50)),
);

/** Bodies and packs of any size; about half of them as large as SQS allows, to the last bytes. */
const foreignMessage = fc
  .record({
    text: bodyText,
    bodyBytes: fc.oneof(fc.nat(2_000), fc.nat(maxMessageBytes)),
    packBytes: fc.oneof(fc.constant(0), fc.nat(2_000), fc.nat(maxMessageBytes)),
    spare: fc.option(fc.nat(1_500), { nil: undefined }),
    seed: fc.nat(),
  })
  .map(({ text, bodyBytes, packBytes, spare, seed }) => {
    const allowed = text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "") || "x";
    const body = allowed.repeat(Math.max(1, Math.floor(bodyBytes / Buffer.byteLength(allowed))));
    const most = maxMessageBytes - 10 - Buffer.byteLength(body);
    const wanted = packBytes > 0 && spare !== undefined ? most - spare : Math.min(packBytes, most);
    const length = Math.max(0, wanted);
    return {
      body,
      pack: createHash("shake256", { outputLength: length || 1 })
        .update(`${seed}`)
        .digest()
        .subarray(0, length),
    };
  });

function toEntry(body: string, pack: Uint8Array) {
  const value = { DataType: "Binary", BinaryValue: Buffer.from(pack).toString("base64") };
  return { Id: "0", MessageBody: body, ...(pack.length > 0 && { MessageAttributes: { pack: value } }) };
}
