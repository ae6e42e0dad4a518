import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Intake, type IntakeOptions } from "../../../agent/intake/intake.ts";
import { createRedactor, type Redactor } from "../../../agent/intake/redactor.ts";
import { type AgentLedger, createLedger } from "../../../agent/ledger.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { createLoopMark } from "../../../relay/rules/loop-mark.ts";
import { Pattern } from "../../../relay/rules/pattern.ts";
import type { StickyBy } from "../../../relay/rules/sample.ts";
import { comparable } from "../../support/data/captured-requests.ts";
import { noRedaction } from "../../support/data/redact-configs.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";
import { goldenFiles } from "../../support/spop/golden-frames.ts";
import { packInto } from "../../support/spop/plain-intake.ts";
import {
  bin,
  bool,
  headersBinary,
  headersText,
  type Items,
  int32,
  int64,
  ipv4,
  ipv6,
  type Message,
  messageList,
  nul,
  str,
  type Typed,
  uint64,
} from "../../support/spop/spop-frames.ts";

const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const packId = "ab".repeat(16);

interface TestIntake {
  readonly ledger: AgentLedger;
  readonly unknown: string[];
  readonly unusable: string[];
  readonly unknownWhole: [flaw: string, onResponse: boolean][];
  /** Passes messages as a part of a socket's chunk, which is overwritten afterwards. */
  take(...messages: (Message | Items)[]): void;
  takeBytes(payload: Uint8Array): void;
  /** Everything that has been packed so far. */
  packed(): CapturedRequest[];
}

function createIntake(changes: Partial<IntakeOptions> = {}): TestIntake {
  const ledger = createLedger();
  const requests: CapturedRequest[] = [];
  const unknown: string[] = [];
  const unusable: string[] = [];
  const unknownWhole: [string, boolean][] = [];
  const packer = packInto(ledger, (pack) => requests.push(...pack.requests.map(comparable)));
  const intake = new Intake({
    sample: { fraction: 1 },
    redactor: undefined,
    ledger,
    packer,
    nowMs: () => nowMs,
    random: () => 0.5,
    onUnknownArgument: (name) => unknown.push(name),
    onUnusable: (reason) => unusable.push(reason),
    onUnknownWhole: (flaw, onResponse) => unknownWhole.push([flaw, onResponse]),
    ...changes,
  });
  const takeBytes = (payload: Uint8Array) => {
    const chunk = Buffer.concat([Buffer.from("before"), payload, Buffer.from("behind")]);
    try {
      intake.take(chunk, 6, 6 + payload.length, 16_380);
    } finally {
      chunk.fill(0xee);
    }
  };
  return {
    ledger,
    unknown,
    unusable,
    unknownWhole,
    takeBytes,
    take: (...messages) =>
      takeBytes(messageList(messages.map((message) => ("args" in message ? message : { args: message })))),
    packed: () => {
      packer.close();
      return requests;
    },
  };
}

function masking(headers: readonly string[]): Redactor | undefined {
  return createRedactor({ ...noRedaction, headers }, createLedger(), { warn: () => {} });
}

const headers = ["host", "shop.example", "x-tag", "a", "x-tag", "b", "content-length", "3"];

type Changes = Readonly<Record<string, Typed | undefined>>;

function args(changes: Changes = {}): Items {
  const items = new Map<string, Typed | undefined>([
    ["method", str("POST")],
    ["pathq", str("/a?b=c")],
    ["ver", str("1.1")],
    ["hdrs", bin(headersBinary(headers))],
    ["body", bin("abc")],
    ...Object.entries(changes),
  ]);
  return [...items].filter((item): item is [string, Typed] => item[1] !== undefined);
}

const request: CapturedRequest = {
  id: `${packId}-0`,
  index: 0,
  capturedAtMs: nowMs,
  method: "POST",
  path: "/a?b=c",
  version: "1.1",
  src: "",
  headers,
  body: Uint8Array.from(Buffer.from("abc")),
  bodyState: "complete",
};

/** The one request that is captured from these arguments. */
function capture(items: Items, changes: Partial<IntakeOptions> = {}): CapturedRequest {
  const { take, packed } = createIntake(changes);
  take(items);
  expect(packed()).toHaveLength(1);
  return packed()[0];
}

/** Every message is in exactly one of the ledger's counts. */
function expectSumsToMatch({ ledger }: TestIntake): void {
  const counts = (map: ReadonlyMap<string, number>) => [...map.values()].reduce((sum, count) => sum + count, 0);
  const { seen, sampledOut, filtered, looped, upgrade, unreplayable, unusable, dropped, pending, enqueued } = ledger;
  const byReason = counts(unreplayable) + counts(unusable) + counts(dropped);
  expect(sampledOut + filtered + looped + upgrade + byReason + pending + enqueued).toBe(seen);
}

describe("arguments", () => {
  it("become a request", () => {
    expect(capture(args())).toEqual(request);
  });

  it("have spoa-mirror's names or the plain ones, and give the same request", () => {
    const mirror: Items = [
      ["arg_method", str("POST")],
      ["arg_path", str("/a?b=c")],
      ["arg_ver", str("1.1")],
      ["arg_hdrs", bin(headersBinary(headers))],
      ["arg_body", bin("abc")],
    ];
    const long: Items = [
      ["method", str("POST")],
      ["path", str("/a")],
      ["query", str("b=c")],
      ["version", str("1.1")],
      ["headers", bin(headersBinary(headers))],
      ["body", bin("abc")],
      ["body_len", int64(3)],
    ];

    expect(capture(mirror)).toEqual(request);
    expect(capture(long)).toEqual(request);
  });

  it.each(["pathq", "uri", "url"])("have an absolute URL in %s reduced to its path and query", (name) => {
    const items = args({ pathq: undefined, [name]: str("https://shop.example:8443/a?b=c") });

    expect(capture(items).path).toBe("/a?b=c");
  });

  it("may be in any order", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...args()], { minLength: 5 }), (shuffled) => {
        expect(capture(shuffled)).toEqual(request);
      }),
    );
  });

  it("give the same headers as text and as binary", () => {
    expect(capture(args({ hdrs: str(headersText(headers)) }))).toEqual(request);
  });

  it("keep every byte of method, path, headers and body", () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const list = ["X-Bytes", "\xff\x80\t\xc3\xbc", "x-empty", "", "X-Bytes", "2"];

    const captured = capture(
      args({
        method: str("M-SEARCH"),
        pathq: str("/\xff\xc3\xbc?\x80"),
        hdrs: bin(headersBinary(list)),
        body: bin(bytes),
        id: str("\xe9-1"),
      }),
    );

    expect(captured).toMatchObject({ method: "M-SEARCH", path: "/\xff\xc3\xbc?\x80", headers: list, id: "\xe9-1" });
    expect(captured.body).toEqual(Uint8Array.from(bytes));
  });

  it.each<[string, Typed, string]>([
    ["IPv4", ipv4(192, 0, 2, 1), "192.0.2.1"],
    ["IPv6", ipv6(Buffer.from("20010db8000000000000000000000001", "hex")), "2001:db8::1"],
    ["text", str("192.0.2.1"), "192.0.2.1"],
  ])("give the client's address: %s", (_, src, expected) => {
    expect(capture(args({ src })).src).toBe(expected);
  });

  it("are ignored and reported once if they are unknown", () => {
    const intake = createIntake();

    for (let i = 0; i < 3; i++) intake.take(args({ "x-extra": str("?"), another: nul }));

    expect(intake.unknown).toEqual(["x-extra", "another"]);
    expect(intake.packed().map(({ path }) => path)).toEqual(["/a?b=c", "/a?b=c", "/a?b=c"]);
  });

  it("leave no values behind for the next message", () => {
    const { take, packed } = createIntake();
    take(
      args({ id: str("1"), src: ipv4(1, 2, 3, 4), status: int64(200), res_hdrs: bin(headersBinary(["a", "b"])) }),
      {
        args: [
          ["method", str("GET")],
          ["path", str("/")],
        ],
      },
      args({ hdrs: nul, body: nul }),
    );

    expect(packed()[1]).toEqual({
      ...request,
      ...{ id: `${packId}-1`, index: 1, method: "GET", path: "/", version: "", headers: [], bodyState: "omitted" },
      body: new Uint8Array(),
    });
    expect(packed()[2]).toEqual({
      ...request,
      ...{ id: `${packId}-2`, index: 2, headers: [], bodyState: "omitted" },
      body: new Uint8Array(),
    });
  });

  it.each(["get-query", "post-json"].flatMap((kind) => goldenFiles(`notify-${kind}`)))(
    "recorded in $name become the recorded request",
    ({ frames, messages }) => {
      const { takeBytes, packed } = createIntake();
      const recorded = Object.fromEntries(messages[0].args.map(({ name, value }) => [name, value]));
      const textOf = (name: string) => /"(.*)"/.exec(recorded[name])?.[1] ?? "";

      takeBytes(frames[0].subarray(11));

      expect(packed()).toEqual([
        {
          id: textOf("id"),
          index: 0,
          capturedAtMs: nowMs,
          method: textOf("method"),
          path: textOf("pathq"),
          version: "1.1",
          src: "127.0.0.1",
          headers: messages[0].args.find(({ name }) => name === "hdrs")?.headers,
          body: Uint8Array.from(Buffer.from(/hex (.*)/.exec(recorded.body)?.[1] ?? "", "hex")),
          bodyState: "complete",
        },
      ]);
    },
  );

  it.each(goldenFiles("notify-truncated"))("recorded in $name give a truncated body", ({ frames }) => {
    const { takeBytes, packed } = createIntake();

    takeBytes(frames[0].subarray(11));

    expect(packed()).toMatchObject([{ bodyState: "truncated", body: { length: 2_844 } }]);
  });
});

describe("a body", () => {
  const withoutLength = bin(headersBinary(["host", "a"]));
  const withLength = (length: string) => bin(headersBinary(["Content-Length", length]));
  const withBoth = (length: string) => bin(headersBinary(["Content-Length", length, "Transfer-Encoding", "chunked"]));
  const cut = (changes: Changes) => ({ whole: bool(false), ...changes });
  const chunked = (changes: Changes) => ({
    whole: bool(true),
    hdrs: bin(headersBinary(["Transfer-Encoding", "chunked"])),
    ...changes,
  });

  it.each<[string, Changes, string, number]>([
    ["is complete", {}, "complete", 3],
    ["that is NULL is complete and empty", { body: nul, hdrs: withoutLength }, "complete", 0],
    ["that is empty is complete", { body: bin(""), hdrs: withLength("0") }, "complete", 0],
    ["that HAProxy has whole is complete", { whole: bool(true) }, "complete", 3],
    ["that HAProxy has not whole is truncated", { whole: bool(false) }, "truncated", 3],
    ["that HAProxy has not whole is truncated, whatever its lengths", cut({ body_len: int64(3) }), "truncated", 3],
    ["that is empty so far is truncated", { body: bin(""), hdrs: withoutLength, whole: bool(false) }, "truncated", 0],
    ["without an argument is omitted, whole or not", { body: undefined, whole: bool(false) }, "omitted", 0],
    [
      "that HAProxy has whole, but sends in part, is truncated",
      { whole: bool(true), body_len: int64(9) },
      "truncated",
      3,
    ],
    ["that HAProxy has whole, with a size of 0, is complete", chunked({ body_size: int64(0) }), "complete", 3],
    ["that HAProxy has whole needs no Content-Length", chunked({}), "complete", 3],
    ["that is chunked has no Content-Length", chunked({ hdrs: withBoth("900") }), "complete", 3],
    ["that is NULL, in chunks, is omitted", chunked({ body: nul }), "omitted", 0],
    ["that is NULL, without headers, is omitted", { body: nul, hdrs: nul, whole: bool(true) }, "omitted", 0],
    ["that is NULL, in HTTP/2, is omitted", { body: nul, hdrs: withoutLength, ver: str("2.0") }, "omitted", 0],
    ["without an argument is omitted", { body: undefined }, "omitted", 0],
    ["without an argument, but with a size, is omitted", { body: undefined, body_len: int64(3) }, "omitted", 0],
    ["shorter than Content-Length is truncated", { hdrs: withLength("4") }, "truncated", 3],
    ["that is NULL despite a Content-Length is truncated", { body: nul }, "truncated", 0],
    ["shorter than body_len is truncated", { hdrs: withoutLength, body_len: int64(4) }, "truncated", 3],
    ["shorter than body_size is truncated", { hdrs: withoutLength, body_size: int64(100_000) }, "truncated", 3],
    ["shorter than the larger of two sizes is truncated", { body_len: int64(3), body_size: int64(4) }, "truncated", 3],
    ["of the size in all arguments is complete", { body_len: int64(3), body_size: uint64(3) }, "complete", 3],
    ["longer than Content-Length is complete", { hdrs: withLength("2") }, "complete", 3],
    ["with a size that is NULL is complete", { hdrs: withoutLength, body_size: nul }, "complete", 3],
    ["with a negative size is complete", { hdrs: withoutLength, body_size: int64(-1) }, "complete", 3],
    ["with a size that is not a number is complete", { hdrs: withLength("many"), body_size: str("9") }, "complete", 3],
    ["as text is complete", { body: str("abc") }, "complete", 3],
  ])("%s", (_, changes, bodyState, bytes) => {
    expect(capture(args(changes))).toMatchObject({ bodyState, body: { length: bytes } });
  });

  it("keeps any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5_000 }), (bytes) => {
        const hdrs = bin(headersBinary(["content-length", String(bytes.length)]));
        expect(capture(args({ hdrs, body: bin(bytes) }))).toMatchObject({ body: bytes, bodyState: "complete" });
      }),
    );
  });
});

describe("a body without whole and length", () => {
  /** The largest body that does not fill HAProxy's buffer. */
  function largestComplete(changes: Changes): number {
    let [complete, truncated] = [0, 20_000];
    while (truncated - complete > 1) {
      const bytes = Math.floor((complete + truncated) / 2);
      const { bodyState } = capture(args({ ver: str("2.0"), body: bin(Buffer.alloc(bytes)), ...changes }));
      if (bodyState === "complete") complete = bytes;
      else truncated = bytes;
    }
    return complete;
  }

  const hdrs = (...list: readonly string[]) => ({ hdrs: bin(headersBinary(list)) });
  const plain = largestComplete(hdrs("host", "a", "x", "y"));

  // HAProxy's buffer holds the host in the start line and as a header, and a block of 8 bytes for each header.
  it.each<[string, Changes, number]>([
    ["its method", { ...hdrs("host", "a", "x", "y"), method: str("POST1234567890") }, 10],
    ["its path", { ...hdrs("host", "a", "x", "y"), pathq: str("/a?b=c1234567890") }, 10],
    ["a header", hdrs("host", "a", "x", "y1234567890"), 10],
    ["its host", hdrs("host", "a1234567890", "x", "y"), 20],
    ["one more header", hdrs("host", "a", "x", "y", "1", "2"), 10],
  ])("is taken for cut if it fills the buffer, with %s", (_, changes, bytes) => {
    expect(plain - largestComplete(changes)).toBe(bytes);
  });
});

describe("the argument whole", () => {
  // A request of HTTP/2 without a length: as many bytes as HAProxy's buffer of 16,384 bytes holds.
  const filling = { hdrs: bin(headersBinary(["host", "a"])), ver: str("2.0"), body: bin(Buffer.alloc(15_200)) };

  it.each<[string, Typed | undefined, [string, boolean][], string]>([
    ["true", bool(true), [], "complete"],
    ["false", bool(false), [], "truncated"],
    ["missing", undefined, [["missing", false]], "truncated"],
    ["NULL", nul, [["missing", false]], "truncated"],
    ["an integer", int64(1), [["not a boolean", false]], "truncated"],
    ["text", str("true"), [["not a boolean", false]], "truncated"],
  ])("is a boolean of HAProxy: %s", (_, whole, flaws, bodyState) => {
    const intake = createIntake();

    for (let i = 0; i < 3; i++) intake.take(args({ ...filling, whole }));

    expect(intake.unknownWhole).toEqual(flaws);
    expect(intake.packed().map((captured) => captured.bodyState)).toEqual([bodyState, bodyState, bodyState]);
  });

  it("is missed again a minute later, if it is still missing", () => {
    let clockMs = nowMs;
    const intake = createIntake({ nowMs: () => clockMs });

    for (const afterMs of [0, 59_999, 60_000, 60_001, 200_000]) {
      clockMs = nowMs + afterMs;
      intake.take(args(), args({ whole: int64(1) }), args({ whole: bool(true) }));
    }

    const flaws = [
      ["missing", false],
      ["not a boolean", false],
    ];
    expect(intake.unknownWhole).toEqual([...flaws, ...flaws, ...flaws]);
  });

  it("is not missed in messages without a body", () => {
    const intake = createIntake();

    intake.take(args({ body: undefined }));

    expect(intake.unknownWhole).toEqual([]);
  });

  it("is missed in messages on the response, too", () => {
    const intake = createIntake();

    intake.take(args({ status: int64(200) }));

    expect(intake.unknownWhole).toEqual([["missing", true]]);
  });

  it("may come before or after the body", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...args({ ...filling, whole: bool(true) })], { minLength: 6 }), (shuffled) => {
        expect(capture(shuffled).bodyState).toBe("complete");
      }),
    );
  });

  it("of one message says nothing about the next", () => {
    const { take, packed } = createIntake();

    take(args({ ...filling, whole: bool(true) }), args(filling), args({ whole: bool(false) }), args());

    expect(packed().map(({ bodyState }) => bodyState)).toEqual(["complete", "truncated", "truncated", "complete"]);
  });
});

describe("the primary's outcome", () => {
  it("is kept", () => {
    const list = ["content-type", "text/plain", "set-cookie", "a", "set-cookie", "b"];
    const outcome = {
      status: int64(503),
      time: int32(17),
      res_bytes: uint64(2n ** 40n),
      res_digest: str("d41d8cd9"),
      res_hdrs: str(headersText(list)),
    };

    expect(capture(args(outcome)).primary).toEqual({
      status: 503,
      timeMs: 17,
      bytes: 2 ** 40,
      digest: "d41d8cd9",
      headers: list,
    });
  });

  it("has only the sent parts", () => {
    expect(capture(args({ status: int64(204), time: nul, res_hdrs: nul })).primary).toEqual({ status: 204 });
    expect(capture(args({ time: int64(-1) })).primary).toEqual({});
    expect(capture(args({ status: nul })).primary).toBeUndefined();
    expect(capture(args({ res_hdrs: bin(headersBinary(["a", "b"])) })).primary).toEqual({ headers: ["a", "b"] });
    expect(capture(args({ res_digest: str("d41d8cd9") })).primary).toEqual({ digest: "d41d8cd9" });
    expect(capture(args({ res_bytes: uint64(0n) })).primary).toEqual({ bytes: 0 });
  });
});

describe("an unusable message", () => {
  it.each<[string, Items]>([
    ["no method", args({ method: undefined })],
    ["no method", args({ method: nul })],
    ["no method", args({ method: str("") })],
    ["no path", args({ pathq: undefined, query: str("a=b") })],
    ["no path", args({ pathq: bool(true) })],
    ["malformed headers", args({ hdrs: str("no colon\r\n") })],
    ["malformed headers", args({ hdrs: bin("\x05ab") })],
    ["malformed headers", args({ res_hdrs: bin("\x05ab") })],
    ["no method", []],
  ])("is counted with its reason: %s", (reason, items) => {
    const intake = createIntake();

    intake.take(items, args());

    expect(intake.unusable).toEqual([reason]);
    expect(intake.ledger).toMatchObject({ seen: 2, unusable: new Map([[reason, 1]]), pending: 1 });
    expectSumsToMatch(intake);
  });

  it("with a wrong argument count is counted, and the messages before it are captured", () => {
    const intake = createIntake();

    const take = () => intake.take(args(), args(), { args: args(), argumentCount: 200 });

    expect(take).toThrow(DecodeError);
    expect(intake.packed()).toHaveLength(2);
    expect(intake.ledger).toMatchObject({ seen: 3, unusable: new Map([["malformed message", 1]]) });
    expectSumsToMatch(intake);
  });
});

describe("too many headers", () => {
  const tooMany = Buffer.alloc(3 * 32_768, "016100", "hex");

  it.each(["hdrs", "res_hdrs"])("in %s end the NOTIFY: its other messages are not read", (name) => {
    const intake = createIntake();

    const take = () => intake.take(args(), args({ [name]: bin(tooMany) }), args());

    expect(take).toThrow(expect.objectContaining({ code: "BAD_COUNT" }));
    expect(intake.ledger).toMatchObject({ seen: 2, unusable: new Map([["malformed message", 1]]), pending: 1 });
    expectSumsToMatch(intake);
  });
});

describe("the loop guard", () => {
  it.each<[string, Typed]>([
    ["text", str(headersText([...headers, "X-Mirror-Id", "1"]))],
    ["binary", bin(headersBinary(["x-mirror-id", "", ...headers]))],
  ])("counts a replayed request and does not pack it: headers as %s", (_form, hdrs) => {
    const intake = createIntake();

    intake.take(args({ hdrs }), args());

    expect(intake.ledger).toMatchObject({ seen: 2, looped: 1, pending: 1 });
    expectSumsToMatch(intake);
  });
});

describe("the loop guard with a key", () => {
  const loopGuard = { header: "x-mirror-id", keys: ["0123456789abcdef"] };
  const mark = createLoopMark(loopGuard, "4b1d-1");

  it.each<[string, string, boolean]>([
    ["a replay has signed", mark, true],
    ["nobody has signed", "4b1d-1", false],
    ["was signed for another id", mark.replace("4b1d-1", "4b1d-2"), false],
  ])("leaves out only what a replay has signed: a mark that %s", (_case, value, looped) => {
    let foreign = 0;
    const intake = createIntake({ loopGuard, redactor: masking(["x-mirror-id"]), onForeignMark: () => foreign++ });

    intake.take(args({ hdrs: bin(headersBinary(["host", "a", "X-Mirror-Id", value])) }), args());

    expect(intake.ledger).toMatchObject({ seen: 2, looped: looped ? 1 : 0, pending: looped ? 1 : 2 });
    expect(foreign).toBe(looped ? 0 : 1);
    expectSumsToMatch(intake);
  });
});

describe("a request that cannot be replayed", () => {
  const webSocket = ["host", "a", "Connection", "keep-alive, Upgrade", "Upgrade", "websocket"];

  it.each<[string, Typed]>([
    ["text", str(headersText(webSocket))],
    ["binary", bin(headersBinary(webSocket))],
  ])("is counted as an upgrade and not packed: headers as %s", (_form, hdrs) => {
    const intake = createIntake({ redactor: masking(["connection", "upgrade"]) });

    intake.take(args({ hdrs }), args());

    expect(intake.ledger).toMatchObject({ seen: 2, upgrade: 1, pending: 1 });
    expectSumsToMatch(intake);
  });

  it("is not one that offers HTTP/2", () => {
    const hdrs = bin(headersBinary(["Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c"]));

    expect(capture(args({ hdrs })).method).toBe("POST");
  });

  it.each<[string, string, Changes]>([
    ["CONNECT", "without a path", { method: str("CONNECT"), pathq: nul }],
    ["CONNECT", "with its authority", { method: str("CONNECT"), pathq: undefined, url: str("example.com:443") }],
    ["OPTIONS *", "without a path", { method: str("OPTIONS"), pathq: nul }],
    ["OPTIONS *", "as it was written", { method: str("OPTIONS"), pathq: undefined, url: str("*") }],
    ["OPTIONS *", "with its authority", { method: str("OPTIONS"), pathq: undefined, url: str("http://a") }],
  ])("is counted by its reason: %s %s", (reason, _, changes) => {
    const intake = createIntake();

    intake.take(args(changes), args());

    expect(intake.ledger).toMatchObject({ seen: 2, unreplayable: new Map([[reason, 1]]), pending: 1 });
    expect(intake.unusable).toEqual([]);
    expectSumsToMatch(intake);
  });

  it.each<[string, Changes]>([
    ["OPTIONS with a path", { method: str("OPTIONS"), pathq: str("/") }],
    ["OPTIONS of a URL with a query only", { method: str("OPTIONS"), pathq: str("?a=b") }],
    ["OPTIONS of the root of a URL", { method: str("OPTIONS"), pathq: undefined, url: str("http://a/") }],
    ["GET of a URL without a path", { method: str("GET"), pathq: undefined, url: str("http://a") }],
    ["a method of seven letters", { method: str("CONTROL") }],
  ])("is not %s", (_, changes) => {
    expect(capture(args(changes)).path).toMatch(/^\//);
  });

  it.each<[string, Changes]>([
    ["a method of seven letters", { method: str("CONTROL"), pathq: nul }],
    ["a GET", { method: str("GET"), pathq: nul }],
    ["a GET of *", { method: str("GET"), pathq: undefined, url: str("*") }],
    ["a GET of a name", { method: str("GET"), pathq: undefined, url: str("name") }],
    ["a GET of a scheme", { method: str("GET"), pathq: undefined, url: str("mailto:a@b/c") }],
  ])("is not %s without a path, which is unusable", (_, changes) => {
    const intake = createIntake();

    intake.take(args(changes));

    expect(intake.ledger).toMatchObject({ seen: 1, unusable: new Map([["no path", 1]]) });
    expectSumsToMatch(intake);
  });

  it("counts as filtered, sampled out or looped if it is that, too", () => {
    const upgrade = bin(headersBinary([...webSocket, "x-mirror-id", "1"]));
    const intakes = [
      createIntake({ sample: { fraction: 0 } }),
      createIntake({ when: { methods: ["PUT"] } }),
      createIntake(),
    ];

    for (const intake of intakes) intake.take(args({ hdrs: upgrade }));

    expect(intakes.map(({ ledger }) => [ledger.sampledOut, ledger.filtered, ledger.looped, ledger.upgrade])).toEqual([
      ...[
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
      ],
    ]);
  });
});

describe("the sample", () => {
  it("captures its fraction, and counts the rest", () => {
    const intake = createIntake({ sample: { fraction: 0.25 }, random: seededRandom(3) });

    for (let i = 0; i < 4_000; i++) intake.take(args());

    expect(intake.ledger.pending).toBeGreaterThan(900);
    expect(intake.ledger.pending).toBeLessThan(1_100);
    expectSumsToMatch(intake);
  });

  it("captures everything at 1 and nothing at 0, for any random number", () => {
    for (const random of [() => 0, () => 0.999_999_999]) {
      const [all, none] = [1, 0].map((fraction) => createIntake({ sample: { fraction }, random }));
      for (const intake of [all, none]) intake.take(args());
      expect([all.ledger.pending, none.ledger.sampledOut]).toEqual([1, 1]);
    }
  });

  const keyed: readonly (readonly [StickyBy["by"], StickyBy, (key: number) => Items])[] = [
    [
      "header",
      { by: "header", name: "x-user", missing: "out" },
      (key) => args({ hdrs: bin(headersBinary(["X-User", `${key}`])) }),
    ],
    [
      "cookie",
      { by: "cookie", name: "sid", missing: "out" },
      (key) => args({ hdrs: str(headersText(["Cookie", `a=b; sid=${key}`])) }),
    ],
    ["src", { by: "src", missing: "out" }, (key) => args({ src: ipv4(10, 0, key >> 8, key & 255) })],
  ];

  it.each(keyed)("sticky by %s captures the same keys on every agent", (_by, stickyBy, withKey) => {
    const agents = [0.01, 0.99].map((randomNumber) =>
      createIntake({ sample: { fraction: 0.5, stickyBy }, random: () => randomNumber }),
    );

    for (const agent of agents) for (let key = 0; key < 400; key++) agent.take(withKey(key));

    const [one, two] = agents.map((agent) => agent.packed().map(({ headers, src }) => [headers, src]));
    expect(one).toEqual(two);
    expect(one.length).toBeGreaterThan(150);
    expect(one.length).toBeLessThan(250);
  });

  it.each(keyed)("sticky by %s follows `missing` if there is no key", (_by, stickyBy) => {
    const intakes = (["in", "out"] as const).map((missing) =>
      createIntake({ sample: { fraction: 0.5, stickyBy: { ...stickyBy, missing } } }),
    );

    for (const intake of intakes) intake.take(args());

    expect(intakes.map(({ ledger }) => ledger.pending)).toEqual([1, 0]);
  });

  it("sticky by a redacted header still distinguishes its values", () => {
    const stickyBy = { by: "header", name: "authorization", missing: "out" } as const;
    const intake = createIntake({ sample: { fraction: 0.5, stickyBy }, redactor: masking(["authorization"]) });

    for (let i = 0; i < 100; i++) intake.take(args({ hdrs: bin(headersBinary(["Authorization", `user ${i}`])) }));

    expect(intake.ledger.pending).toBeGreaterThan(25);
    expect(intake.ledger.pending).toBeLessThan(75);
    expect(new Set(intake.packed().map((captured) => captured.headers[1]))).toEqual(new Set(["redacted"]));
  });
});

describe("the filter", () => {
  it.each<[string, IntakeOptions["when"] & object, boolean]>([
    ["a method", { methods: ["POST"] }, true],
    ["another method", { methods: ["GET", "post"] }, false],
    ["a path with its query", { path: new Pattern("^/a\\?b=c$") }, true],
    ["another path", { path: new Pattern("^/z") }, false],
    ["a header", { headers: { "x-tag": new Pattern("^a$") } }, true],
    ["a header that is missing", { headers: { "x-none": new Pattern(".*") } }, false],
  ])("by %s", (_, when, expected) => {
    const intake = createIntake({ when });

    intake.take(args());

    expect(intake.ledger).toMatchObject(expected ? { pending: 1 } : { filtered: 1, pending: 0 });
    expectSumsToMatch(intake);
  });

  it("judges a redacted header by the value that the client sent", () => {
    const when = { headers: { "x-tag": new Pattern("^a$") } };

    expect(capture(args(), { when, redactor: masking(["x-tag"]) }).headers.slice(2, 6)).toEqual([
      ...["x-tag", "redacted", "x-tag", "redacted"],
    ]);
  });
});

describe("redaction", () => {
  it.each<[string, Typed]>([
    ["text", str(headersText(["Cookie", "a=b", "X-Tag", "cookie", "cookie", ""]))],
    ["binary", bin(headersBinary(["Cookie", "a=b", "X-Tag", "cookie", "cookie", ""]))],
  ])("replaces only the values of the configured headers, in headers as %s", (_form, hdrs) => {
    expect(capture(args({ hdrs }), { redactor: masking(["cookie"]) }).headers).toEqual([
      ...["Cookie", "redacted", "X-Tag", "cookie", "cookie", "redacted"],
    ]);
  });

  it("covers the headers of the response", () => {
    const res_hdrs = bin(headersBinary(["Set-Cookie", "sid=secret", "a", "b"]));

    expect(capture(args({ res_hdrs }), { redactor: masking(["set-cookie"]) }).primary?.headers).toEqual([
      ...["Set-Cookie", "redacted", "a", "b"],
    ]);
  });

  it("still detects a truncated body if Content-Length is redacted", () => {
    expect(capture(args({ body: bin("ab") }), { redactor: masking(["content-length"]) }).bodyState).toBe("truncated");
  });
});

describe("any message", () => {
  const typed: fc.Arbitrary<Typed> = fc.oneof(
    fc.constantFrom(nul, bool(true), ipv4(1, 2, 3, 4), ipv6(Buffer.alloc(16))),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(int64),
    fc.uint8Array({ maxLength: 30 }).map(str),
    fc.uint8Array({ maxLength: 30 }).map(bin),
    fc.constantFrom(bin(headersBinary(headers)), bin(headersBinary(["connection", "upgrade", "upgrade", "a"]))),
    fc.constantFrom(str("CONNECT"), str("OPTIONS"), str("*"), str("http://a")),
  );
  const names = ["method", "pathq", "path", "url", "query", "ver", "hdrs", "body", "body_len", "id", "src", "status"];
  const more = ["time", "res_hdrs", "res_bytes", "res_digest", "x-extra", ""];
  const items = fc.array(fc.tuple(fc.constantFrom(...names, ...more), typed), { maxLength: 15 });

  it("is in exactly one count of the ledger", () => {
    const intake = createIntake({
      sample: { fraction: 0.7 },
      random: seededRandom(5),
      when: { headers: { "x-tag": new Pattern("^a$") } },
      redactor: masking(["x-tag"]),
    });
    let taken = 0;
    fc.assert(
      fc.property(fc.array(items, { maxLength: 4 }), (messages) => {
        intake.take(...messages);
        taken += messages.length;
        expect(intake.ledger.seen).toBe(taken);
        expectSumsToMatch(intake);
      }),
      { numRuns: 500 },
    );
    expect(intake.packed()).toHaveLength(intake.ledger.pending);
  });

  it("of any bytes throws nothing but a DecodeError", () => {
    const intake = createIntake({ redactor: masking(["x-tag"]) });
    const real = messageList([{ args: args() }]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(real.length), (bytes, keep) => {
        try {
          intake.takeBytes(Buffer.concat([real.subarray(0, keep), bytes]));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 500 },
    );
    expectSumsToMatch(intake);
  });
});
