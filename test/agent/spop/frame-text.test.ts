import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatFrame } from "../../../agent/spop/frame-text.ts";
import { allGoldenFiles, goldenFiles } from "../../support/spop/golden-frames.ts";
import {
  bin,
  bool,
  frame,
  headersBinary,
  headersText,
  hello,
  type Items,
  int64,
  ipv4,
  ipv6,
  messageList,
  notify,
  nul,
  str,
} from "../../support/spop/spop-frames.ts";

const text = (bytes: Buffer) => formatFrame(bytes, 4, bytes.length);
const argumentsText = (args: Items) => text(notify({ messages: [{ args }] })).replace(/^.* mirror: ?/, "");

describe("formatFrame", () => {
  it("names type, identifiers, flags, size, messages and arguments", () => {
    expect(text(notify({ streamId: 300, frameId: 2 }))).toBe(
      'NOTIFY stream=300 frame=2 FIN 37 B mirror: method="GET" pathq="/"',
    );
    expect(text(hello({ "engine-id": undefined }))).toMatch(
      /^HAPROXY-HELLO stream=0 frame=0 FIN \d+ B supported-versions="2\.0" max-frame-size=16380 capabilities="pipelining"$/,
    );
    expect(text(frame({ type: 0, flags: 3, streamId: 5, frameId: 1 }))).toBe("UNSET stream=5 frame=1 FIN|ABORT 7 B");
    expect(text(frame({ type: 77, flags: 0 }))).toBe("type 77 stream=0 frame=0 unfinished 7 B");
  });

  it.each<[string, Items[number], string]>([
    ["nothing", ["a", nul], "a=null"],
    ["a boolean", ["a", bool(true)], "a=true"],
    ["a negative number", ["a", int64(-5)], "a=-5"],
    ["an IPv4 address", ["src", ipv4(10, 0, 0, 1)], "src=10.0.0.1"],
    ["an IPv6 address", ["src", ipv6(Buffer.alloc(16, 0xab))], `src=${Array(8).fill("abab").join(":")}`],
    ["only the size of a body", ["body", bin("password=s3cret")], "body=<15 B>"],
    ["the beginning of a long string", ["a", str("x".repeat(99))], `a="${"x".repeat(60)}… (99 B)"`],
    ["no credential", ["Cookie", str("sid=s3cret")], "Cookie=…"],
    ["no secret of a query", ["query", str("a=1&token=s3cret")], 'query="a=1&token=…"'],
    ["no secret of a URL in a query", ["query", str("to=/b%3Ftoken%3Ds3cret")], 'query="to=/b%3Ftoken%3D…"'],
    ["no secret of a path", ["pathq", str("/a?%74oken=s3cret")], 'pathq="/a?%74oken=…"'],
    ["no secret of a URL", ["url", str("http://h/a?to=/b%3Ftoken%3Ds3cret")], 'url="http://h/a?to=/b%3Ftoken%3D…"'],
    ["control characters escaped", ["a", str("\x1b[2J\n")], 'a="\\x1b[2J\\x0a"'],
    [
      "binary headers without credentials",
      ["hdrs", bin(headersBinary(["host", "a", "authorization", "Basic s3cret", "x-empty", ""]))],
      "hdrs=[host: a, authorization: …, x-empty: ]",
    ],
    [
      "headers as text without credentials",
      ["arg_hdrs", str(headersText(["Host", "a:1", "COOKIE", "sid=s3cret"]))],
      "arg_hdrs=[Host: a:1, COOKIE: …]",
    ],
  ])("shows %s", (_, item, expected) => {
    expect(argumentsText([item])).toBe(expected);
  });

  it("shows only the size of a frame of an unknown type", () => {
    const messages = messageList([{ args: [["a", str("b")]] }]);

    expect(text(frame({ type: 77, payload: messages }))).toMatch(/^type 77 stream=0 frame=0 FIN \d+ B$/);
    expect(text(frame({ type: 0, payload: messages }))).toMatch(/^UNSET stream=0 frame=0 FIN \d+ B$/);
  });

  it("shows a damaged frame up to the damage", () => {
    const whole = notify({ messages: [{ args: [["method", str("GET")]], argumentCount: 2 }] });

    expect(text(whole)).toBe(
      'NOTIFY stream=1 frame=1 FIN 27 B mirror: method="GET" … the bytes end too early at byte 31 (TRUNCATED)',
    );
  });

  it("never throws, and never shows a control character", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(1, 2, 3, 0, 101, 103), (bytes, type) => {
        const all = Buffer.concat([Buffer.from([type, 0, 0, 0, 1]), bytes]);
        // A tab does not control a terminal.
        expect(formatFrame(all, 0, all.length)).not.toMatch(/[^\P{Cc}\t]/u);
      }),
    );
  });

  it("reads every recording as its comments describe it", () => {
    for (const { frames, described, name } of allGoldenFiles()) {
      for (const [i, bytes] of frames.entries()) {
        const { type, streamId, frameId } = described[i];
        expect([name, text(bytes)]).toEqual([
          name,
          expect.stringMatching(`^${type} stream=${streamId} frame=${frameId} `),
        ]);
      }
    }
    for (const { frames, messages } of goldenFiles("notify-post-json")) {
      for (const { name } of messages[0].args) expect(text(frames[0])).toContain(` ${name}=`);
    }
  });
});
