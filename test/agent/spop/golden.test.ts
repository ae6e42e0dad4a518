import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Session } from "../../../agent/spop/session.ts";
import { allGoldenFiles, type GoldenFile, goldenFiles } from "../../support/spop/golden-frames.ts";
import { readReferenceVarint } from "../../support/spop/reference-varint.ts";
import { hello, readAgentFrames } from "../../support/spop/spop-frames.ts";
import { visitArguments } from "../../support/spop/visited-arguments.ts";

const notifyKinds = ["get-query", "post-json", "truncated", "two-messages", "types", "fragmented"];
const notifies = notifyKinds.flatMap((kind) => goldenFiles(`notify-${kind}`));
const types = ["NULL", "BOOL", "INT32", "UINT32", "INT64", "UINT64", "IPV4", "IPV6", "STRING", "BINARY"];

/** The payloads of the NOTIFYs in the file, as a session passes them on after its HELLO. */
function payloadsOf(file: GoldenFile): { readonly payloads: Buffer[]; readonly replies: Buffer } {
  const session = new Session(16 * 1024 * 1024);
  session.receive(hello());
  const payloads: Buffer[] = [];
  const replies = file.frames.map((frame) => {
    const reply = session.receive(frame);
    session.takeNotifies((bytes, start, end) => payloads.push(Buffer.from(bytes.subarray(start, end))));
    return reply;
  });
  expect(session.end).toBeUndefined();
  expect(session.idle).toBe(true);
  return { payloads, replies: Buffer.concat(replies) };
}

describe.each(notifies)("$name", (file) => {
  it("contains the recorded messages and arguments", () => {
    const { payloads } = payloadsOf(file);

    const messages = visitArguments(payloads[0]);

    expect(payloads).toHaveLength(1);
    expect(messages.map(({ name }) => name)).toEqual(file.messages.map(({ name }) => name));
    for (const [i, { args }] of messages.entries()) {
      const recorded = file.messages[i].args;
      expect(args.map(({ name, type }) => [name, types[type]])).toEqual(recorded.map(({ name, type }) => [name, type]));
      for (const [k, { value, bytes }] of args.entries()) {
        const comment = recorded[k].value;
        const size = /^(\d+) bytes/.exec(comment)?.[1];
        const text = /bytes "(.*)"$/.exec(comment)?.[1];
        const hex = /(?:bytes )?hex ([0-9a-f]+)$|\(bytes ([0-9a-f]+)\)$/.exec(comment);
        const digest = /sha256 ([0-9a-f]+)$/.exec(comment)?.[1];
        if (size !== undefined) expect(bytes).toHaveLength(Number(size));
        if (text !== undefined) expect(asComment(bytes)).toBe(text);
        if (hex) expect(bytes.toString("hex")).toBe(hex[1] ?? hex[2]);
        if (digest !== undefined) expect(createHash("sha256").update(bytes).digest("hex")).toBe(digest);
        if (recorded[k].type === "IPV4") expect(bytes.join(".")).toBe(comment);
        if (/INT|BOOL|NULL/.test(recorded[k].type)) expect(value === null ? "" : String(value)).toBe(comment);
      }
    }
  });

  it("is acknowledged once, with its own identifiers", () => {
    const { replies } = payloadsOf(file);

    const { streamId, frameId } = file.described[0];
    expect(readAgentFrames(replies)).toEqual([
      expect.objectContaining({ type: "ack", flags: 1, streamId, frameId, payload: Buffer.from("020202015f", "hex") }),
    ]);
  });
});

describe.each(goldenFiles("notify-aborted"))("$name", (file) => {
  it("is dropped without an ACK", () => {
    const { payloads, replies } = payloadsOf(file);

    expect(payloads).toEqual([]);
    expect(replies).toHaveLength(0);
  });
});

describe.each([...goldenFiles("hello"), ...goldenFiles("hello-async")])("$name", (file) => {
  it("is answered so that HAProxy keeps the connection", () => {
    const session = new Session(1024 * 1024);

    const [answer, ...more] = readAgentFrames(session.receive(file.frames[0]));

    expect(more).toEqual([]);
    expect(answer).toMatchObject({ type: "hello", flags: 1, streamId: 0n, frameId: 0n });
    expect(answer.items).toEqual({
      version: "2.0",
      "max-frame-size": 16_380n,
      capabilities: "pipelining,fragmentation",
    });
    expect(session.greeted).toBe(true);
  });
});

describe.each(goldenFiles("hello-healthcheck"))("$name", (file) => {
  it("is answered with exactly the bytes that pass the check", () => {
    const session = new Session(1024 * 1024);

    const reply = session.receive(file.frames[0]);

    expect(reply.toString("latin1")).toBe(
      "\0\0\0\x4e\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\x0ccapabilities\x08\x18pipelining,fragmentation",
    );
    expect(session.end).toEqual({ kind: "health-check", code: 0, text: "" });
  });
});

describe.each([...goldenFiles("disconnect-idle"), ...goldenFiles("disconnect-soft-stop")])("$name", (file) => {
  it("is answered with AGENT-DISCONNECT 0", () => {
    const session = new Session(1024 * 1024);
    session.receive(hello());

    const reply = readAgentFrames(session.receive(file.frames[0]));

    expect(reply).toMatchObject([{ type: "disconnect", flags: 1, items: { "status-code": 0n } }]);
    expect(session.end).toMatchObject({
      kind: "haproxy-disconnect",
      code: Number(file.items["status-code"].replace("UINT32 ", "")),
    });
  });
});

describe("the loader", () => {
  it("reads frames that match their comments", () => {
    for (const { name, frames, described } of allGoldenFiles()) {
      expect(frames.length, name).toBe(described.length);
      for (const [i, frame] of frames.entries()) {
        const streamId = readReferenceVarint(frame, 9);
        const frameId = readReferenceVarint(frame, streamId.next);
        expect(frame.length - 4, name).toBe(described[i].length);
        expect(frame.readUInt32BE(0), name).toBe(described[i].length);
        expect(frame.readUInt32BE(5), name).toBe(described[i].flags);
        expect([streamId.value, frameId.value], name).toEqual([described[i].streamId, described[i].frameId]);
      }
    }
  });
});

function asComment(bytes: Buffer): string {
  // A JSON string in which every byte outside ASCII is \u00xx.
  const json = JSON.stringify(bytes.toString("latin1")).slice(1, -1);
  return json.replaceAll(/[\x7f-\xff]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
}
