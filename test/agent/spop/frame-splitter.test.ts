import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameSplitter, FrameTooBig } from "../../../agent/spop/frame-splitter.ts";

const limitBytes = 70_000;

function withLength(content: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  return Buffer.concat([length, content]);
}

/** The frames found in a stream that is cut at these offsets. */
function split(stream: Buffer, cuts: readonly number[]): { readonly frames: Buffer[]; readonly midFrame: boolean } {
  const splitter = new FrameSplitter();
  const frames: Buffer[] = [];
  const offsets = [0, ...[...cuts].sort((a, b) => a - b), stream.length];
  for (let i = 1; i < offsets.length; i++) {
    // A buffer of its own, overwritten afterwards as a socket may do.
    const chunk = Buffer.from(stream.subarray(offsets[i - 1], offsets[i]));
    splitter.push(chunk);
    while (splitter.next(limitBytes)) frames.push(Buffer.from(splitter.bytes.subarray(splitter.start, splitter.end)));
    chunk.fill(0xee);
  }
  return { frames, midFrame: splitter.unfinished > 0 };
}

describe("FrameSplitter", () => {
  it("finds the same frames wherever the stream is cut", () => {
    const frames = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 });
    fc.assert(
      fc.property(frames, fc.array(fc.nat(400), { maxLength: 12 }), (contents, cuts) => {
        const stream = Buffer.concat(contents.map(withLength));
        const inside = cuts.map((cut) => Math.min(cut, stream.length));
        const expected = { frames: contents.map((content) => Buffer.from(content)), midFrame: false };
        expect(split(stream, inside)).toEqual(expected);
      }),
    );
  });

  it("finds the same frames byte by byte, also large ones", () => {
    const contents = [20, 0, 17_000, 66_000].map((bytes, i) => Buffer.alloc(bytes, i + 1));
    const stream = Buffer.concat(contents.map(withLength));

    const { frames, midFrame } = split(stream, [...stream.keys()]);

    expect(midFrame).toBe(false);
    expect(frames.map((frame) => frame.length)).toEqual(contents.map((content) => content.length));
    expect(Buffer.concat(frames).equals(Buffer.concat(contents))).toBe(true);
  });

  it("does not copy a frame that is whole in one chunk", () => {
    const chunk = Buffer.concat([withLength(Buffer.from("one")), withLength(Buffer.from("two"))]);
    const splitter = new FrameSplitter();
    splitter.push(chunk);

    splitter.next(limitBytes);
    splitter.next(limitBytes);

    expect(splitter.bytes).toBe(chunk);
    expect([splitter.start, splitter.end]).toEqual([11, 14]);
  });

  it("keeps no chunk once all its frames are found", () => {
    const splitter = new FrameSplitter();
    splitter.push(Buffer.concat([withLength(Buffer.from("one")), Buffer.alloc(3)]));

    expect([splitter.next(limitBytes), splitter.next(limitBytes)]).toEqual([true, false]);

    expect(splitter.bytes).toHaveLength(0);
  });

  it("keeps a frame valid after the next one has been found in the same chunk", () => {
    const stream = Buffer.concat([withLength(Buffer.from("first")), withLength(Buffer.from("second"))]);
    const splitter = new FrameSplitter();
    splitter.push(stream.subarray(0, 6));
    splitter.next(limitBytes);
    splitter.push(stream.subarray(6));
    splitter.next(limitBytes);
    const first = splitter.bytes.subarray(splitter.start, splitter.end);

    splitter.next(limitBytes);

    expect(Buffer.from(first).toString()).toBe("first");
  });

  it.each([[[]], [[1]], [[1, 2, 3]], [[4]]])(
    "refuses a length above the limit before it buffers the frame, cut at %j",
    (cuts) => {
      const stream = Buffer.from("fffffffffe", "hex");

      expect(() => split(stream, cuts)).toThrow(FrameTooBig);
      expect(() => split(stream, cuts)).toThrow("a frame of 4294967295 bytes exceeds the limit of 70000 bytes");
    },
  );

  it("accepts a frame of exactly the limit, and refuses one that is one byte longer", () => {
    expect(split(withLength(Buffer.alloc(limitBytes)), []).frames).toHaveLength(1);
    expect(() => split(withLength(Buffer.alloc(limitBytes + 1)), [])).toThrow(FrameTooBig);
  });

  it("allocates little memory for a frame of which only the length has arrived", () => {
    const splitter = new FrameSplitter();
    const before = process.memoryUsage().arrayBuffers;

    splitter.push(Buffer.from("00ffffff00", "hex"));
    const found = splitter.next(0x0100_0000);

    expect(found).toBe(false);
    expect(splitter.unfinished).toBe(1);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
  });
});
