import { describe, expect, it } from "vitest";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { forwardMessage, readMessage, shareMessage } from "../../../relay/queue/message.ts";
import { delivery, pack, packIn, packMessage, requests } from "../../support/data/packs.ts";

describe("readMessage", () => {
  it("reads the pack of an agent", () => {
    const read = packIn(packMessage({ agent: "edge~1", sequence: 3, requests: requests(2) }));

    expect(read).toMatchObject({ agent: "edge~1", sequence: 3, attempt: 0 });
    expect(read.requests.map(({ path }) => path)).toEqual(["/0", "/1"]);
  });

  it.each([
    ["an empty message", Buffer.alloc(0)],
    ["bytes that are not a pack", Buffer.from("hello, I am no pack at all")],
    ["a pack cut short", packMessage().pack.subarray(0, 40)],
    ["a changed byte", changedAt(packMessage().pack, 20)],
  ])("returns an error for %s", (_, bytes) => {
    expect(readMessage({ pack: bytes })).toBeInstanceOf(DecodeError);
  });
});

describe("shareMessage", () => {
  it("keeps id, indexes and bytes of the requests, and counts the attempt", () => {
    const whole = pack({ requests: requests(5) });
    const share = packIn(shareMessage(whole, [whole.requests[1], whole.requests[4]], { attempt: 1 }));

    expect(share).toMatchObject({ id: whole.id, agent: whole.agent, sequence: whole.sequence, attempt: 1 });
    expect(share.requests).toEqual([whole.requests[1], whole.requests[4]]);
  });

  it("describes its content in the body", () => {
    const parts = [{ capturedAtMs: 1_790_000_000_000 }, {}, { capturedAtMs: 1_790_000_000_250 }];
    const whole = pack({ agent: "edge~1", sequence: 3, requests: parts });
    const {
      body,
      requests: count,
      delayMs,
    } = shareMessage(whole, whole.requests, {
      attempt: 2,
      delayMs: 500,
      reason: "refused",
    });

    expect(JSON.parse(body)).toEqual({
      v: 1,
      pack: whole.id,
      agent: "edge~1",
      seq: 3,
      count: 3,
      bytes: expect.any(Number),
      first: "2026-09-21T14:13:20.000Z",
      last: "2026-09-21T14:13:20.250Z",
      attempt: 2,
      reason: "refused",
    });
    expect({ count, delayMs }).toEqual({ count: 3, delayMs: 500 });
  });
});

describe("forwardMessage", () => {
  it("changes no byte", () => {
    const sent = packMessage({ requests: requests(3) });
    const forwarded = forwardMessage(delivery(sent), packIn(sent), Date.now());

    expect(forwarded).toEqual({ body: sent.body, pack: sent.pack, requests: 3 });
    expect(forwarded.pack).toBe(sent.pack);
  });
});

function changedAt(bytes: Uint8Array, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] ^= 1;
  return changed;
}
