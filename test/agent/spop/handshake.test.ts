import { describe, expect, it } from "vitest";
import { decodeHaproxyDisconnect, decodeHaproxyHello, type HaproxyHello } from "../../../agent/spop/handshake.ts";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";
import { goldenFiles } from "../../support/spop/golden-frames.ts";
import {
  bool,
  haproxyDisconnect,
  hello,
  int64,
  itemList,
  nul,
  str,
  type Typed,
  uint32,
} from "../../support/spop/spop-frames.ts";

/** The bytes after length, type, flags and two identifiers of one byte. */
const payloadOf = (frame: Buffer) => new ByteReader(frame.subarray(11));
const offerOf = (changes: Record<string, Typed | undefined> = {}): HaproxyHello =>
  decodeHaproxyHello(payloadOf(hello(changes)));

describe("decodeHaproxyHello", () => {
  it.each(goldenFiles("hello"))("accepts the offer recorded in $name", ({ frames, items }) => {
    expect(decodeHaproxyHello(payloadOf(frames[0]))).toEqual({
      kind: "offer",
      maxFrameBytes: 16_380,
      healthCheck: false,
      engineId: /"(.*)"/.exec(items["engine-id"])?.[1],
    });
  });

  it.each(goldenFiles("hello-healthcheck"))(
    "recognises the health check in $name, which has no engine id",
    ({ frames }) => {
      expect(decodeHaproxyHello(payloadOf(frames[0]))).toEqual({
        kind: "offer",
        maxFrameBytes: 16_380,
        healthCheck: true,
        engineId: "",
      });
    },
  );

  it("ignores unknown keys, of any type", () => {
    const extra = { "x-future": nul, "": bool(true), "another-key": int64(-1) };

    expect(offerOf(extra)).toEqual(offerOf());
  });

  it.each(["2.0", "1.0,2.0", "1.0, 2.0 ,3.0"])("accepts the versions %j", (versions) => {
    expect(offerOf({ "supported-versions": str(versions) })).toMatchObject({ kind: "offer" });
  });

  it.each<[string, Record<string, Typed | undefined>, number, RegExp]>([
    ["no version", { "supported-versions": undefined }, 5, /supported-versions/],
    ["a version that is not a string", { "supported-versions": uint32(2) }, 5, /supported-versions/],
    [
      "another version",
      { "supported-versions": str("1.0, 3.0,2.01") },
      8,
      /speaks SPOP 2\.0, HAProxy offers 1\.0, 3\.0,2\.01: use/,
    ],
    ["no frame size", { "max-frame-size": undefined }, 6, /max-frame-size/],
    ["a frame size that is not a number", { "max-frame-size": str("16380") }, 6, /max-frame-size/],
    ["a frame size below 256", { "max-frame-size": uint32(255) }, 9, /max-frame-size 255 .*spoe-agent/],
    ["a negative frame size", { "max-frame-size": int64(-1) }, 9, /max-frame-size -1 /],
    ["a frame size beyond 32 bits", { "max-frame-size": int64(2n ** 32n) }, 9, /max-frame-size 4294967296 /],
  ])("refuses %s", (_, changes, code, text) => {
    expect(offerOf(changes)).toEqual({ kind: "refused", code, text: expect.stringMatching(text) });
  });

  it("accepts the largest and the smallest frame size, in any integer type", () => {
    expect(offerOf({ "max-frame-size": uint32(0xffff_ffff) })).toMatchObject({ maxFrameBytes: 0xffff_ffff });
    expect(offerOf({ "max-frame-size": int64(256) })).toMatchObject({ maxFrameBytes: 256 });
  });

  it("treats `healthcheck` false as a normal connection", () => {
    expect(offerOf({ healthcheck: bool(false) })).toMatchObject({ healthCheck: false });
  });

  it("throws a DecodeError if an item is cut off", () => {
    const items = itemList([["supported-versions", str("2.0")]]);

    expect(() => decodeHaproxyHello(new ByteReader(items.subarray(0, -1)))).toThrow(
      expect.objectContaining({ code: "TRUNCATED" }),
    );
  });
});

describe("decodeHaproxyDisconnect", () => {
  it.each([...goldenFiles("disconnect-idle"), ...goldenFiles("disconnect-soft-stop")])(
    "reads the status and the text of $name",
    ({ frames, items }) => {
      expect(decodeHaproxyDisconnect(payloadOf(frames[0]))).toEqual({
        code: Number(items["status-code"].replace("UINT32 ", "")),
        text: /"(.*)"/.exec(items.message)?.[1],
      });
    },
  );

  it("returns status 99 if there is none", () => {
    expect(decodeHaproxyDisconnect(new ByteReader(new Uint8Array()))).toEqual({ code: 99, text: "" });
    expect(decodeHaproxyDisconnect(payloadOf(haproxyDisconnect(4, "invalid frame received")))).toEqual({
      code: 4,
      text: "invalid frame received",
    });
  });
});
