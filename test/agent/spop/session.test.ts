import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type MessageVisitor, visitMessages } from "../../../agent/spop/notify.ts";
import { Session } from "../../../agent/spop/session.ts";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";
import { allGoldenFiles } from "../../support/spop/golden-frames.ts";
import { cutAt, openSession, runChunks, type SessionRun } from "../../support/spop/session-run.ts";
import {
  bin,
  bool,
  finAbort,
  fragmentedNotify,
  frame,
  get,
  haproxyDisconnect,
  hello,
  messageList,
  notify,
  readAgentFrames,
  str,
  type Typed,
  uint32,
} from "../../support/spop/spop-frames.ts";

const MiB = 1024 * 1024;
const noop = Buffer.from("020202015f", "hex");
const payload = (...paths: string[]) => messageList(paths.map(get)).toString("hex");
const bytewise = (stream: Buffer) => [...stream].map((byte) => Buffer.from([byte]));
const statusOf = ({ frames }: SessionRun) => frames.at(-1)?.items["status-code"];

/** Passes one chunk to a new session. */
function greet(chunk: Uint8Array, maxFrameBytes = MiB): SessionRun {
  return runChunks(new Session(maxFrameBytes), [chunk]);
}

/** Passes one chunk to a session after its HELLO. */
function feed(...frames: Uint8Array[]): SessionRun {
  return runChunks(openSession(), [Buffer.concat(frames)]);
}

describe("HELLO", () => {
  it.each([
    [16_380, MiB, 16_380n],
    [10_499_996, MiB, 1_048_576n],
    [0xffff_ffff, MiB, 1_048_576n],
    [256, MiB, 256n],
    [16_380, 256, 256n],
  ])("of %i bytes against our %i is answered with the smaller frame size, in one buffer", (theirs, ours, expected) => {
    const { replies, frames, end } = greet(hello({ "max-frame-size": uint32(theirs) }), ours);

    expect(replies).toHaveLength(1);
    expect(frames).toMatchObject([{ type: "hello", flags: 1, items: { "max-frame-size": expected } }]);
    expect(end).toBeUndefined();
  });

  it("is answered with pipelining and fragmentation, and never with async", () => {
    for (const capabilities of ["pipelining", "pipelining,async", "async", ""]) {
      const [answer] = greet(hello({ capabilities: str(capabilities) })).frames;
      expect(answer.items).toMatchObject({ version: "2.0", capabilities: "pipelining,fragmentation" });
    }
  });

  it("of a health check is answered with AGENT-HELLO alone, and ends the session", () => {
    const check = hello({ healthcheck: bool(true), capabilities: str(""), "engine-id": undefined });

    const { frames, payloads, end } = greet(Buffer.concat([check, notify()]));

    expect(frames.map(({ type }) => type)).toEqual(["hello"]);
    expect(payloads).toEqual([]);
    expect(end).toEqual({ kind: "health-check", code: 0, text: "" });
  });

  it("may contain unknown keys", () => {
    const { frames, end } = greet(hello({ "x-new": bool(true), "": str("?") }));

    expect(frames).toMatchObject([{ type: "hello" }]);
    expect(end).toBeUndefined();
  });

  it.each<[string, Record<string, Typed | undefined>, number]>([
    ["an unsupported version", { "supported-versions": str("1.0,3.0") }, 8],
    ["no version", { "supported-versions": undefined }, 5],
    ["no max-frame-size", { "max-frame-size": undefined }, 6],
    ["a max-frame-size below 256", { "max-frame-size": uint32(255) }, 9],
  ])("with %s is refused with its status code", (_, changes, status) => {
    const run = greet(hello(changes));

    expect(run.frames).toMatchObject([{ type: "disconnect", flags: 1, items: { "status-code": BigInt(status) } }]);
    expect(run.end).toMatchObject({ kind: "refused", code: status, text: run.frames[0].items.message });
  });

  it("and NOTIFYs in one chunk are answered in one buffer", () => {
    const { replies, frames, payloads } = greet(Buffer.concat([hello(), notify(), notify({ streamId: 2 })]));

    expect(replies).toHaveLength(1);
    expect(frames.map(({ type }) => type)).toEqual(["hello", "ack", "ack"]);
    expect(payloads).toEqual([payload("/"), payload("/")]);
  });

  it("ends the session if it is sent twice", () => {
    expect(statusOf(feed(hello()))).toBe(4n);
  });
});

describe("NOTIFY", () => {
  it("is acknowledged with one action that does nothing", () => {
    const { frames, payloads } = feed(notify({ streamId: 7, frameId: 3 }));

    expect(frames).toEqual([{ type: "ack", flags: 1, streamId: 7n, frameId: 3n, items: {}, payload: noop }]);
    expect(payloads).toEqual([payload("/")]);
  });

  it("is acknowledged with the bytes that HAProxy 3.1.0 needs", () => {
    expect(
      openSession()
        .receive(notify({ streamId: 1, frameId: 1 }))
        .toString("hex"),
    ).toBe("0000000c670000000101010202" + "02015f");
  });

  it("without any message is acknowledged", () => {
    const { frames, payloads } = feed(notify({ messages: [] }));

    expect(frames).toMatchObject([{ type: "ack", payload: noop }]);
    expect(payloads).toEqual([""]);
  });

  it("comes with the frame size that HAProxy announced, whatever the agent agreed to", () => {
    const session = new Session(1_024);
    session.receive(hello({ "max-frame-size": uint32(65_532) }));
    const sizes: number[] = [];

    session.receive(Buffer.concat([notify(), ...fragmentedNotify({ messages: [get("/")], pieceBytes: 10 })]));
    session.takeNotifies((_bytes, _start, _end, peerFrameBytes) => sizes.push(peerFrameBytes));

    expect(sizes).toEqual([65_532, 65_532]);
  });

  it("with two messages is acknowledged once", () => {
    const { frames, payloads } = feed(notify({ messages: [get("/a"), get("/b")] }));

    expect(frames).toHaveLength(1);
    expect(payloads).toEqual([payload("/a", "/b")]);
  });

  it("has its identifiers echoed byte by byte, whatever their size", () => {
    const id = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(id, id, (streamId, frameId) => {
        const sent = notify({ streamId, frameId });
        const reply = openSession().receive(sent);
        const idBytes = sent.length - 9 - messageList([get("/")]).length;
        expect(reply.subarray(9, 9 + idBytes)).toEqual(sent.subarray(9, 9 + idBytes));
        expect(reply.subarray(9 + idBytes)).toEqual(noop);
      }),
    );
  });

  it.each([0n, 239n, 240n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
    "of stream %s is acknowledged",
    (streamId) => {
      expect(feed(notify({ streamId, frameId: streamId })).frames).toMatchObject([{ streamId, frameId: streamId }]);
    },
  );

  it("has an identifier with an unnecessarily long encoding echoed unchanged", () => {
    const odd = Buffer.from("0000000c0300000001f08080808000" + "01", "hex");

    expect(openSession().receive(odd).subarray(9, 16).toString("hex")).toBe("f0808080800001");
  });

  it("and 499 more in one chunk are acknowledged in one buffer, in order", () => {
    const many = Array.from({ length: 500 }, (_, i) => notify({ streamId: i, messages: [get(`/${i}`)] }));

    const { replies, frames, payloads } = feed(...many);

    expect(replies).toHaveLength(1);
    expect(frames.map(({ streamId }) => Number(streamId))).toEqual(many.map((_, i) => i));
    expect(payloads).toEqual(many.map((_, i) => payload(`/${i}`)));
  });

  it("and thousands more in one chunk are all acknowledged, once and in order", () => {
    const ids = Array.from({ length: 4_000 }, (_, i) => i);

    const { replies, frames } = feed(...ids.map((streamId) => notify({ streamId, messages: [] })));

    expect(replies).toHaveLength(1);
    expect(frames.map(({ type, streamId }) => [type, Number(streamId)])).toEqual(ids.map((id) => ["ack", id]));
  });

  it("has an answer that a later chunk does not change", () => {
    const session = openSession();
    const first = session.receive(notify({ streamId: 1 }));
    const before = Buffer.from(first);

    session.receive(notify({ streamId: 2 }));

    expect(first).toEqual(before);
  });

  it("may be as large as HAProxy announced, even if the agent agreed to less", () => {
    const session = new Session(1_024);
    session.receive(hello({ "max-frame-size": uint32(60_000) }));
    const large = notify({ messages: [{ args: [["body", bin(Buffer.alloc(59_000))]] }] });

    expect(runChunks(session, [large]).frames).toMatchObject([{ type: "ack" }]);
  });
});

describe("a fragmented NOTIFY", () => {
  const messages = [get(`/${"x".repeat(1_000)}`)];
  const whole = messageList(messages).toString("hex");

  it("is joined and acknowledged after its last fragment", () => {
    const session = openSession();
    const pieces = fragmentedNotify({ streamId: 2n ** 60n, frameId: 300, messages, pieceBytes: 100 });

    const before = runChunks(session, pieces.slice(0, -1));
    const idleBefore = session.idle;
    const after = runChunks(session, pieces.slice(-1));

    expect(before).toMatchObject({ frames: [], payloads: [] });
    expect(idleBefore).toBe(false);
    expect(after.frames).toMatchObject([{ type: "ack", streamId: 2n ** 60n, frameId: 300n, payload: noop }]);
    expect(after.payloads).toEqual([whole]);
    expect(session.idle).toBe(true);
  });

  it("is the same for any size of its fragments", () => {
    for (const pieceBytes of [1, 7, 500, 1_021, 5_000]) {
      const { frames, payloads } = feed(...fragmentedNotify({ messages, pieceBytes }));
      expect([frames.length, payloads]).toEqual([1, [whole]]);
    }
  });

  it("may have other frames between and after its fragments", () => {
    const [one, two, ...rest] = fragmentedNotify({ streamId: 2, messages, pieceBytes: 400 });
    const other = fragmentedNotify({ streamId: 3, messages: [get("/other")], pieceBytes: 10 });

    const run = feed(
      one,
      notify({ streamId: 1 }),
      ...other,
      two,
      ...rest,
      notify({ streamId: 4, messages: [get("/4")] }),
    );

    expect(run.frames.map(({ streamId }) => streamId)).toEqual([1n, 3n, 2n, 4n]);
    expect(run.payloads).toEqual([payload("/"), payload("/other"), whole, payload("/4")]);
  });

  it("is dropped without an ACK if it is aborted, and later frames are processed", () => {
    const [one, two] = fragmentedNotify({ streamId: 2, messages, pieceBytes: 400 });
    const abort = frame({ type: 0, flags: finAbort, streamId: 2, frameId: 1 });
    const session = openSession();

    const run = runChunks(session, [Buffer.concat([one, two, abort, notify({ streamId: 3 })])]);

    expect(run.frames).toMatchObject([{ type: "ack", streamId: 3n }]);
    expect(run.payloads).toEqual([payload("/")]);
    expect(session.idle).toBe(true);
  });

  it("may reuse the identifiers of an aborted one", () => {
    const [one] = fragmentedNotify({ messages: [get("/old")], pieceBytes: 10 });
    const abort = frame({ type: 0, flags: finAbort, streamId: 1, frameId: 1 });

    const { payloads } = feed(one, abort, ...fragmentedNotify({ messages: [get("/new")], pieceBytes: 10 }));

    expect(payloads).toEqual([payload("/new")]);
  });

  it("is acknowledged and counted if it exceeds the size limit, and the next one is passed on", () => {
    const session = new Session(4 * MiB);
    session.receive(hello({ "max-frame-size": uint32(4 * MiB) }));
    const large = [{ args: [["body", bin(Buffer.alloc(17 * MiB))]] as const }];
    const pieces = fragmentedNotify({ streamId: 5, messages: large, pieceBytes: 4 * MiB - 100 });

    const run = runChunks(session, [...pieces, ...fragmentedNotify({ messages, pieceBytes: 300 })]);

    expect(run.frames.map(({ type, streamId }) => [type, streamId])).toEqual([
      ["ack", 5n],
      ["ack", 1n],
    ]);
    expect(run.payloads).toEqual([whole]);
    expect(run.oversize).toBe(1);
  });

  it("leaves no trace in the limit once it is finished, aborted or too large", () => {
    const session = new Session(4 * MiB);
    session.receive(hello({ "max-frame-size": uint32(4 * MiB) }));
    const sized = (streamId: number, bytes: number) =>
      fragmentedNotify({
        streamId,
        messages: [{ args: [["body", bin(Buffer.alloc(bytes))]] }],
        pieceBytes: 4 * MiB - 100,
      });
    const abortion = (streamId: number) => frame({ type: 0, flags: finAbort, streamId, frameId: 1 });
    // If any of them left its bytes there, the last one would exceed the limit of 16 MiB.
    const aborted = [...sized(2, 7 * MiB).slice(0, -1), abortion(2)];
    const run = runChunks(session, [...sized(1, 2 * MiB), ...aborted, ...sized(3, 17 * MiB), ...sized(4, 15 * MiB)]);

    expect(run.payloads.map(({ length }) => Math.floor(length / 2 / MiB))).toEqual([2, 15]);
    expect(run.oversize).toBe(1);
  });

  it("counts the memory of its fragments against the limit, not only their bytes", () => {
    const session = openSession();
    const begin = frame({ type: 3, flags: 0, streamId: 1, frameId: 1 });
    const empty = frame({ type: 0, flags: 0, streamId: 1, frameId: 1 });
    const manyEmpty = Buffer.concat(Array.from({ length: 10_000 }, () => empty));
    const before = process.memoryUsage().heapUsed;

    const chunks = Array.from({ length: 100 }, () => manyEmpty);
    runChunks(session, [begin, ...chunks]);

    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 * MiB);
  });

  it("ends the session if more are unfinished than any HAProxy has", () => {
    const begun = Array.from({ length: 100_000 }, (_, i) => frame({ type: 3, flags: 0, streamId: i, frameId: 1 }));

    const run = feed(...begun);

    expect(statusOf(run)).toBe(13n);
    expect(run.end).toMatchObject({ kind: "refused", code: 13 });
  });

  it("gives back its part of the limit if it is aborted", () => {
    const session = openSession(4 * MiB);
    const piece = Buffer.alloc(16_000);
    for (let round = 0; round < 5; round++) {
      runChunks(session, [frame({ type: 3, flags: 0, streamId: 1, frameId: 1, payload: piece })]);
      for (let i = 0; i < 600; i++) {
        runChunks(session, [frame({ type: 0, flags: 0, streamId: 1, frameId: 1, payload: piece })]);
      }
      runChunks(session, [frame({ type: 0, flags: finAbort, streamId: 1, frameId: 1 })]);
      expect(session.heldBytes).toBe(0);
    }

    const run = runChunks(session, fragmentedNotify({ messages, pieceBytes: 300 }));

    expect(run.payloads).toEqual([whole]);
    expect(run.oversize).toBe(0);
  });

  it("ends the session if it begins twice", () => {
    const [one] = fragmentedNotify({ messages, pieceBytes: 100 });

    expect(statusOf(feed(one, one))).toBe(11n);
  });

  it("ends the session if it never began", () => {
    expect(statusOf(feed(frame({ type: 0, streamId: 9, frameId: 9 })))).toBe(12n);
  });
});

describe("hostile bytes", () => {
  const tls = Buffer.from("16030102000100013703030f", "hex");
  const http = Buffer.from("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

  it.each<[string, Buffer, number, RegExp]>([
    ["a TLS ClientHello", tls, 4, /TLS ClientHello.*remove ssl from the server line/],
    ["an HTTP request", http, 4, /HTTP request.*mode tcp/],
    ["an HTTP/2 preface", Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 4, /HTTP request/],
    ["a PROXY header", Buffer.from("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"), 4, /remove send-proxy/],
    ["a binary PROXY header", Buffer.from("\r\n\r\n\0\r\nQUIT\n"), 4, /remove send-proxy/],
    ["noise", Buffer.from("fedcba9876543210", "hex"), 4, /only HAProxy's filter spoe may connect/],
    ["a NOTIFY before HELLO", notify(), 4, /first frame must be HAPROXY-HELLO, not type 3/],
    ["a HELLO of 5 KB", hello({ x: str("y".repeat(5_000)) }), 4, /only HAProxy's filter spoe may connect/],
    ["a HELLO that is cut off", frame({ type: 1, payload: Buffer.from([5, 97]) }), 4, /malformed frame.*HAProxy/],
    ["the HELLO of an agent", frame({ type: 101 }), 4, /must be HAPROXY-HELLO, not type 101/],
  ])(
    "before HELLO are answered with a DISCONNECT that says what to change, for any cut: %s",
    (_, bytes, status, text) => {
      for (const chunks of [[bytes], bytewise(bytes), cutAt(bytes, [3])]) {
        const run = runChunks(new Session(MiB), chunks);
        expect(run.frames).toMatchObject([{ type: "disconnect", flags: 1, items: { "status-code": BigInt(status) } }]);
        expect(run.frames[0].items.message).toMatch(text);
        expect(run.end).toMatchObject({ kind: "refused", code: status });
      }
    },
  );

  it.each<[string, Buffer, number, RegExp]>([
    [
      "a frame longer than negotiated",
      Buffer.from("00003ffd03000000010101", "hex"),
      3,
      /16381 bytes.*max-frame-size.*tune\.bufsize/,
    ],
    ["a TLS record", tls, 3, /max-frame-size/],
    ["a frame of length 0", Buffer.alloc(4), 4, /0 bytes is too short/],
    ["a frame of 6 bytes", Buffer.from("00000006030000000101", "hex"), 4, /6 bytes is too short/],
    [
      "an identifier that is cut off",
      Buffer.from("0000000703000000" + "01f080", "hex"),
      4,
      /malformed frame.*TRUNCATED.*HAProxy/,
    ],
    ["an identifier without end", frame({ type: 3, payload: Buffer.alloc(12, 0xff) }), 0, /./],
    ["an ACK", frame({ type: 103 }), 4, /another agent/],
    ["a DISCONNECT that is cut off", frame({ type: 2, payload: Buffer.from([9, 1]) }), 4, /malformed frame/],
  ])("after HELLO leave earlier frames acknowledged and delivered: %s", (kind, bytes, status, text) => {
    if (kind === "an identifier without end") bytes.fill(0xff, 9);
    const before = [notify({ streamId: 1 }), notify({ streamId: 2, messages: [get("/2")] })];
    const expectedStatus = kind === "an identifier without end" ? 4 : status;

    const run = feed(...before, bytes, notify({ streamId: 3 }));

    expect(run.frames.map(({ type }) => type)).toEqual(["ack", "ack", "disconnect"]);
    expect(run.frames[2].items["status-code"]).toBe(BigInt(expectedStatus));
    expect(run.frames[2].items.message).toMatch(text);
    expect(run.payloads).toEqual([payload("/"), payload("/2")]);
    expect(run.end).toMatchObject({ kind: "refused", code: expectedStatus });
  });

  it("inside a NOTIFY are acknowledged; `reject` returns the DISCONNECT and ends the session", () => {
    const session = openSession();
    const malformed = notify({ messages: [{ ...get("/"), argumentCount: 9 }] });

    const run = runChunks(session, [Buffer.concat([notify({ streamId: 3 }), malformed])]);
    const reply = session.reject(new DecodeError("TRUNCATED", 12, "a byte is missing"));

    expect(run.frames.map(({ type }) => type)).toEqual(["ack", "ack"]);
    expect(run.payloads).toHaveLength(2);
    expect(reply.toString("latin1")).toContain("malformed frame (TRUNCATED): only HAProxy");
    // Not the ACKs of the last chunk again.
    expect(readAgentFrames(reply).map(({ type }) => type)).toEqual(["disconnect"]);
    expect(session.end).toMatchObject({ kind: "refused", code: 4 });
  });

  it("are not answered once the session is over", () => {
    const session = openSession();
    runChunks(session, [frame({ type: 101 })]);

    expect(runChunks(session, [notify(), hello(), Buffer.alloc(100)])).toMatchObject({ replies: [], payloads: [] });
  });

  it("never lead to a text above the 255 bytes that HAProxy accepts", () => {
    const [disconnect] = greet(hello({ "supported-versions": str("9.9,".repeat(500)) })).frames;

    expect(String(disconnect.items.message)).toHaveLength(255);
  });
});

describe("frames that are skipped", () => {
  it.each([4, 50, 100, 104, 255])("have the unknown type %i", (type) => {
    const run = feed(frame({ type, streamId: 1, frameId: 1, payload: Buffer.from("?") }), notify({ streamId: 2 }));

    expect(run.frames).toMatchObject([{ type: "ack", streamId: 2n }]);
    expect(run.end).toBeUndefined();
  });
});

describe("what is half received", () => {
  const anyFrame = fc.record({
    type: fc.constantFrom(0, 3, 50),
    flags: fc.constantFrom(0, 1, 3),
    streamId: fc.nat(3),
    frameId: fc.constant(1),
    payload: fc.nat(40_000).map((bytes) => Buffer.alloc(bytes, 65)),
  });

  it("is counted with at least its bytes and at most twice of them, and is nothing once all is complete", () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 12 }),
        fc.array(fc.nat(300_000), { maxLength: 6 }),
        (frames, cuts) => {
          const session = new Session(MiB);
          session.receive(hello({ "max-frame-size": uint32(MiB) }));
          const begun = new Map<number, number>();
          let at = 0;
          const ends: number[] = [];
          const stream = Buffer.concat(frames.map(frame));
          for (const fields of frames) {
            at += frame(fields).length;
            ends.push(at);
          }
          let received = 0;
          let next = 0;
          for (const chunk of cutAt(stream, cuts)) {
            session.receive(chunk);
            session.takeNotifies(() => {});
            received += chunk.length;
            if (session.end) break;
            // The oracle: bytes of messages that have begun, and of the frame that has.
            for (; next < frames.length && ends[next] <= received; next++) {
              const { type, flags, streamId, payload } = frames[next];
              if (type === 50) continue;
              if (flags === 0) begun.set(streamId, (begun.get(streamId) ?? 0) + payload.length);
              else if (type === 0) begun.delete(streamId);
            }
            const partial = received - (next === 0 ? 0 : ends[next - 1]);
            const bytes = [...begun.values()].reduce((all, one) => all + one, partial);
            const things = begun.size + Number(partial > 0);
            expect(session.heldBytes).toBeGreaterThanOrEqual(bytes);
            expect(session.heldBytes).toBeLessThanOrEqual(2 * bytes + things * 20_000);
            expect(session.idle).toBe(things === 0);
            if (things === 0) expect(session.heldBytes).toBe(0);
          }
          if (session.end) expect(session.heldBytes).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("is overdue if it is still unfinished at the next look, whatever else has arrived", () => {
    const session = openSession();
    const begin = frame({ type: 3, flags: 0, streamId: 1, frameId: 1 });
    const more = frame({ type: 0, flags: 0, streamId: 1, frameId: 1 });
    const rest = [notify({ streamId: 3 }), frame({ type: 50 }), more];
    expect(session.checkUnfinished()).toBe(false);
    runChunks(session, [Buffer.concat([begin, ...rest])]);
    expect(session.checkUnfinished()).toBe(false);
    runChunks(session, [Buffer.concat(rest)]);
    expect(session.checkUnfinished()).toBe(true);

    runChunks(session, [frame({ type: 0, streamId: 1, frameId: 1 }), begin]);

    expect(session.checkUnfinished()).toBe(false);
    expect(session.checkUnfinished()).toBe(true);
  });

  it("is overdue if it is a frame, whatever part of it has arrived since", () => {
    const session = openSession();
    const one = notify({ streamId: 1 });
    runChunks(session, [one.subarray(0, 2)]);
    expect(session.checkUnfinished()).toBe(false);
    runChunks(session, [one.subarray(2, 12)]);
    expect(session.checkUnfinished()).toBe(true);

    runChunks(session, [one.subarray(12), one.subarray(0, 8)]);

    expect(session.checkUnfinished()).toBe(false);
    expect(session.checkUnfinished()).toBe(true);
  });
});

describe("a chunk with many frames", () => {
  it("is read in pieces, with the same answers and requests as at once", () => {
    const requests = Array.from({ length: 40 }, (_, i) => notify({ streamId: i, messages: [get(`/${i}`)] }));
    const stream = Buffer.concat([...requests, notify({ messages: [get("/cut")] }).subarray(0, 20)]);
    const expected = runChunks(openSession(), [stream]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.nat(stream.length), (maxFrames, cut) => {
        const session = openSession();
        const replies: Buffer[] = [];
        const payloads: string[] = [];
        for (const chunk of cutAt(stream, [cut])) {
          // The second chunk comes while the first has not been read to its end.
          replies.push(session.receive(chunk, maxFrames));
          if (session.hasMore) expect(session.idle).toBe(false);
        }
        while (session.hasMore) replies.push(session.proceed(maxFrames));
        session.takeNotifies((all, start, end) => payloads.push(Buffer.from(all.subarray(start, end)).toString("hex")));
        expect(Buffer.concat(replies)).toEqual(Buffer.concat(expected.replies));
        expect(payloads).toEqual(expected.payloads);
        expect(session.untakenBytes).toBe(0);
      }),
    );
  });

  it("is counted as memory as long as some of them wait", () => {
    const session = openSession();
    const chunk = Buffer.concat(Array.from({ length: 30 }, () => frame({ type: 50 })));

    session.receive(chunk, 10);
    expect(session).toMatchObject({ hasMore: true, untaken: 0, untakenBytes: chunk.length });
    session.proceed(19);
    // The last frame keeps the memory of the whole chunk.
    expect(session).toMatchObject({ hasMore: true, untaken: 0, untakenBytes: chunk.length });
    session.proceed();

    expect(session).toMatchObject({ hasMore: false, untakenBytes: 0, frames: 31 });
  });
});

describe("a NOTIFY with many messages", () => {
  it("is passed on in pieces, each of them once, while other NOTIFYs wait behind it", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 8 }), fc.nat(3), (counts, patience) => {
        const session = openSession();
        const paths = counts.map((count, i) => Array.from({ length: count }, (_, at) => `/${i}/${at}`));
        session.receive(Buffer.concat(paths.map((list) => notify({ messages: list.map(get) }))));
        const seen: string[] = [];
        const fresh: number[] = [];
        const reader = new ByteReader(Buffer.alloc(0));
        const visitor: MessageVisitor = {
          beginMessage: () => {},
          argument: (position, _nameStart, _nameEnd, { start, end }) => {
            if (position === 1) seen.push(Buffer.from(reader.bytes.subarray(start, end)).toString());
          },
          endMessage: () => {},
        };
        for (let turns = 0; session.untaken > 0; turns++) {
          expect(turns).toBeLessThan(100);
          let left = patience;
          session.takeNotifies(
            (bytes, start, end, _peerFrameBytes, progress) => {
              if (progress.messages === 0) fresh.push(fresh.length);
              const value = { type: 0, start: 0, end: 0, number: 0 };
              reader.reset(bytes, start, end);
              progress.messages = visitMessages(reader, value, visitor, progress.messages, progress.hasTime);
              if (!reader.done) progress.nextAt = reader.offset;
            },
            () => left-- > 0,
          );
        }
        expect(seen).toEqual(paths.flat());
        expect(fresh).toHaveLength(counts.length);
        expect(session.untakenBytes).toBe(0);
      }),
    );
  });
});

describe("DISCONNECT", () => {
  it("from HAProxy is answered with AGENT-DISCONNECT 0 after the ACKs, and ends the session", () => {
    const run = feed(notify(), haproxyDisconnect(2, "a timeout occurred"), notify());

    expect(run.replies).toHaveLength(1);
    expect(run.frames).toMatchObject([{ type: "ack" }, { type: "disconnect", items: { "status-code": 0n } }]);
    expect(run.payloads).toHaveLength(1);
    expect(run.end).toEqual({ kind: "haproxy-disconnect", code: 2, text: "a timeout occurred" });
  });

  it("that no HAProxy sends is refused unread, and its reason is cut to the 255 bytes of HAProxy's", () => {
    const items = frame({ type: 2, payload: Buffer.alloc(5_000, "\x01a\0", "latin1") });
    const long = feed(haproxyDisconnect(4, "x".repeat(3_000)));

    expect(feed(notify(), items)).toMatchObject({
      frames: [{ type: "ack" }, { type: "disconnect", items: { "status-code": 3n } }],
      end: { kind: "refused", text: expect.stringContaining("HAPROXY-DISCONNECT has more than 4096 bytes") },
    });
    expect(long.end).toEqual({ kind: "haproxy-disconnect", code: 4, text: "x".repeat(255) });
  });

  it("from the agent has status 0; NOTIFYs that cross it are delivered but not acknowledged", () => {
    const session = openSession();

    const disconnect = session.disconnect("the agent stops");
    const run = runChunks(session, [
      notify({ messages: [get("/crossed")] }),
      Buffer.concat(fragmentedNotify({ messages: [get("/pieces")], pieceBytes: 9 })),
    ]);

    expect(disconnect.toString("latin1")).toContain("status-code\x03\0\x07message\x08\x0fthe agent stops");
    expect(run).toMatchObject({ replies: [], payloads: [payload("/crossed"), payload("/pieces")], end: undefined });
  });

  it("from both sides is answered once", () => {
    const session = openSession();
    session.disconnect("the agent stops");

    const run = runChunks(session, [haproxyDisconnect(0, "normal")]);

    expect(run).toMatchObject({ replies: [], end: { kind: "haproxy-disconnect", code: 0 } });
    expect(session.disconnect("again")).toHaveLength(0);
  });
});

describe("any split of the bytes", () => {
  const conversation = Buffer.concat([
    hello(),
    notify({ streamId: 0 }),
    notify({ streamId: 2n ** 40n, messages: [] }),
    ...fragmentedNotify({ streamId: 7, messages: [get(`/${"y".repeat(300)}`)], pieceBytes: 64 }),
    frame({ type: 50 }),
    notify({ streamId: 9, messages: [get("/a"), get("/b")] }),
    haproxyDisconnect(0, "normal"),
  ]);
  const outcome = ({ replies, payloads, end }: SessionRun) => [Buffer.concat(replies).toString("hex"), payloads, end];
  const expected = outcome(greet(conversation));

  it("gives the same replies and the same requests byte by byte", () => {
    expect(expected[1]).toHaveLength(4);
    expect(outcome(runChunks(new Session(MiB), bytewise(conversation)))).toEqual(expected);
  });

  it("gives the same replies and the same requests for any other cuts", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(conversation.length), { maxLength: 12 }), (cuts) => {
        expect(outcome(runChunks(new Session(MiB), cutAt(conversation, cuts)))).toEqual(expected);
      }),
    );
  });

  it("ends a hostile stream in the same way", () => {
    const random = seededRandom(7);
    for (let i = 0; i < 300; i++) {
      const stream = Buffer.from(conversation);
      for (let n = 0; n < 3; n++) stream[Math.floor(random() * stream.length)] = Math.floor(random() * 256);
      const cuts = Array.from({ length: 5 }, () => Math.floor(random() * stream.length));
      expect(outcome(runChunks(new Session(MiB), cutAt(stream, cuts)))).toEqual(outcome(greet(stream)));
    }
  });
});

describe("any bytes at all", () => {
  it("lead only to replies or an orderly end", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), fc.boolean(), (chunks, greeted) => {
        const { frames, end } = runChunks(greeted ? openSession() : new Session(MiB), chunks);
        if (end?.kind === "refused") expect(frames.at(-1)?.type).toBe("disconnect");
      }),
      { numRuns: 500 },
    );
  });

  it("lead only to ACKs or an orderly end, in 20,000 mutated frames of real HAProxies", () => {
    const random = seededRandom(42);
    const below = (limit: number) => Math.floor(random() * limit);
    const real = allGoldenFiles().flatMap(({ frames }) => frames);
    const codes = new Set<number>();
    let acknowledged = 0;
    for (let i = 0; i < 20_000; i++) {
      const original = real[below(real.length)];
      const mutated = mutate(original, real[below(real.length)], below);
      const session = i % 2 === 0 ? openSession() : new Session(MiB);
      const chunks = i % 4 < 2 ? [mutated] : cutAt(mutated, [below(mutated.length + 1)]);
      const { frames, end } = runChunks(session, chunks);
      acknowledged += frames.filter(({ type }) => type === "ack").length;
      if (end?.kind === "refused") {
        codes.add(end.code);
        expect(frames.at(-1)).toMatchObject({ type: "disconnect", items: { "status-code": BigInt(end.code) } });
      }
    }
    expect(acknowledged).toBeGreaterThan(100);
    // A truncated frame leaves the session waiting. Every other end has one of the codes that HAProxy knows.
    expect([...codes].every((code) => (code >= 0 && code <= 13) || code === 99)).toBe(true);
  });
});

/** Flips bits, cuts the end off, appends the end of another frame, or sets a wrong length. */
function mutate(original: Buffer, other: Buffer, below: (limit: number) => number): Buffer {
  const copy = Buffer.from(original);
  switch (below(4)) {
    case 0:
      for (let n = 0; n <= below(8); n++) copy[below(copy.length)] ^= 1 << below(8);
      return copy;
    case 1:
      return copy.subarray(0, below(copy.length));
    case 2: {
      const spliced = Buffer.concat([
        copy.subarray(0, 4 + below(copy.length - 4)),
        other.subarray(below(other.length)),
      ]);
      if (below(2) === 0) spliced.writeUInt32BE(spliced.length - 4);
      return spliced;
    }
    default:
      if (below(2) === 0) copy.writeUInt32BE(below(2) === 0 ? below(64) : below(2 ** 31));
      else copy[11 + below(copy.length - 11)] = 0xf0 + below(16);
      return copy;
  }
}
