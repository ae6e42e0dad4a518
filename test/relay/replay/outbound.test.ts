import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isBodyIncomplete, type OutboundRequest, prepareOutbound } from "../../../relay/replay/outbound.ts";
import { Rewrite } from "../../../relay/rules/pattern.ts";
import { expectedRequest, type RequestParts } from "../../support/data/captured-requests.ts";
import { target } from "../../support/data/targets.ts";

describe("prepareOutbound: headers", () => {
  it("keeps order, case and repeats of the captured headers", () => {
    const headers = ["X-B", "1", "x-a", "2", "X-B", "3", "Cookie", "a=1", "Cookie", "b=2", "x-empty", ""];

    expect(captured(prepare({ headers }))).toEqual(headers);
  });

  it("adds the id, the time of capture, the target and the number of the attempt", () => {
    const { headers } = prepare({ id: "4b1d-1", capturedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678) }, {}, 3);

    expect(added(headers)).toEqual({
      "x-mirror-id": "4b1d-1",
      "x-mirror-captured-at": "2026-01-02T03:04:05.678Z",
      "x-mirror-target": "staging",
      "x-mirror-attempt": "3",
    });
  });

  it.each([
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "Content-Length",
    "X-Mirror-Id",
    "x-mirror-anything",
  ])("leaves out %s", (name) => {
    expect(captured(prepare({ headers: ["a", "1", name, "x", "b", "2"] }))).toEqual(["a", "1", "b", "2"]);
  });

  it.each(["http1", "h2"] as const)(
    "keeps the headers that a Connection header names, as HAProxy does (%s)",
    (protocol) => {
      const headers = ["Connection", "close, x-one, Authorization, host", "connection", "x-mirror-id", "x-one", "1"];
      const kept = captured(prepare({ headers: [...headers, "authorization", "b", "x-three", "3"] }, { protocol }));

      expect(kept).toEqual(["x-one", "1", "authorization", "b", "x-three", "3"]);
    },
  );

  it("sends no header of the connection in HTTP/2, whatever the request had", () => {
    // RFC 9113 8.2.2. The only exception is `te: trailers`.
    const forbidden = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];
    const name = fc.constantFrom(...forbidden, "x-a").chain((text) => fc.mixedCase(fc.constant(text)));
    const header = fc.tuple(name, fc.constantFrom("close", "trailers", "x-a", "h2c", "gzip;q=1, trailers", ""));
    fc.assert(
      fc.property(fc.array(header), fc.constantFrom("h2", "h2c", "auto"), (headers, protocol) => {
        const sent = pairsOf(prepare({ headers: headers.flat() }, { protocol }).headers);
        const ofConnection = sent.filter(([sentName]) => forbidden.includes(sentName.toLowerCase()));
        expect(ofConnection.filter(([sentName, value]) => sentName !== "te" || value !== "trailers")).toEqual([]);
      }),
    );
  });

  it("signs the mark of a replay if there is a key", () => {
    const loopGuard = { header: "x-mirror-id", keys: ["0123456789abcdef", "fedcba9876543210"] };
    const mark = added(prepare({ id: "4b1d-1" }, { loopGuard }).headers)["x-mirror-id"];

    expect(mark).toMatch(/^4b1d-1\.[\w-]{22}$/);
    expect(added(prepare({ id: "4b1d-1" }, { loopGuard }, 2).headers)["x-mirror-id"]).toBe(mark);
  });

  it("sends the mark of a replay in the header of its name, once, and the bare id as well", () => {
    const loopGuard = { header: "x-replayed", keys: ["0123456789abcdef"] };
    const { headers } = prepare({ id: "4b1d-1", headers: ["X-Replayed", "forged", "a", "1"] }, { loopGuard });

    expect(captured({ headers } as OutboundRequest)).toEqual(["a", "1"]);
    expect(added(headers)).toMatchObject({ "x-mirror-id": "4b1d-1", "x-replayed": expect.stringMatching(/^4b1d-1\./) });
  });

  it("passes on a hundred thousand headers that Connection names, in time", () => {
    const names = Array.from({ length: 100_000 }, (_, i) => `x-${i}`);
    const startMs = performance.now();

    const { headers } = prepare({
      headers: [
        "connection",
        `${names.join(",")}${",".repeat(100_000)}`,
        ...names.flatMap((name) => [name, "1"]),
        "x-a",
        "2",
      ],
    });

    expect(headers.filter((part) => part.startsWith("x-") && !part.startsWith("x-mirror-"))).toEqual([...names, "x-a"]);
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });

  it("keeps headers that only look like connection headers", () => {
    const headers = ["Upgrade-Insecure-Requests", "1", "X-Expect", "a", "Via", "1.1 edge", "X-Mirror", "b"];

    expect(captured(prepare({ headers }))).toEqual(headers);
  });

  it("sets and removes headers as configured, the set ones last", () => {
    const changes = { headers: { set: { "x-env": "shadow", "x-new": "1" }, remove: ["authorization"] } };
    const headers = ["X-Env", "a", "Authorization", "secret", "x-env", "b", "accept", "*/*"];

    expect(captured(prepare({ headers }, changes))).toEqual(["accept", "*/*", "x-env", "shadow", "x-new", "1"]);
  });
});

describe("prepareOutbound: the client's address", () => {
  const changes = { headers: { set: { "x-forwarded-for": { src: true }, "x-new": "1" }, remove: [] } } as const;

  it.each([
    ["IPv4", "192.0.2.1", "192.0.2.1"],
    ["IPv6", "2001:db8::1", "2001:db8::1"],
    ["IPv4 over an IPv6 socket", "::ffff:c000:201", "::ffff:192.0.2.1"],
    ["IPv6 that only looks like it", "::ffff:c000:201:1", "::ffff:c000:201:1"],
    ["text", "client.example", "client.example"],
  ])("is the value of a header, in place of what the client sent: %s", (_, src, expected) => {
    const headers = ["X-Forwarded-For", "203.0.113.9", "a", "1", "x-forwarded-for", "203.0.113.8"];

    expect(captured(prepare({ headers, src }, changes))).toEqual(["a", "1", "x-forwarded-for", expected, "x-new", "1"]);
  });

  it("is left out if it was not captured, as for clients of a unix socket", () => {
    const headers = ["X-Forwarded-For", "203.0.113.9", "a", "1"];

    expect(captured(prepare({ headers, src: "" }, changes))).toEqual(["a", "1", "x-new", "1"]);
  });

  it("may contain no line break, but only matters where it is sent", () => {
    const parts = { src: "1.1.1.1\r\nx: y" };

    expect(prepareOutbound(target(changes), request(parts), 1)).toEqual({
      kind: "unsendable",
      reason: "header x-forwarded-for contains a line break or another control character",
    });
    expect(prepareOutbound(target(), request(parts), 1).kind).toBe("send");
  });
});

describe("prepareOutbound: Host", () => {
  const headers = ["a", "1", "HOST", "shop.example", "host", "second.example"];

  it.each([
    ["target", "127.0.0.1:9"],
    ["original", "shop.example"],
    ["api.internal:8080", "api.internal:8080"],
  ])("with `host: %s` is %s, and is sent once", (host, sent) => {
    const request = prepare({ headers }, { host });

    expect(request.headers.slice(0, 2)).toEqual(["host", sent]);
    expect(captured(request)).toEqual(["a", "1"]);
  });

  it("is the target's if the original request has none", () => {
    expect(prepare({ headers: [] }, { host: "original" }).headers[1]).toBe("127.0.0.1:9");
  });
});

describe("prepareOutbound: path", () => {
  it.each([
    [undefined, "/a?b=1", "/a?b=1"],
    [{ prefix: "/v2" }, "/a?b=1", "/v2/a?b=1"],
    [{ prefix: "/v2/" }, "/a", "/v2/a"],
    [{ prefix: "/" }, "/a", "/a"],
    [{ match: new Rewrite("^/api/(v\\d)"), replace: "/$1/api" }, "/api/v1/x", "/v1/api/x"],
    [{ match: new Rewrite("^/nothing"), replace: "/x" }, "/a", "/a"],
    [undefined, "//other/a", "//other/a"],
    [undefined, "/@other:80/", "/@other:80/"],
    [undefined, "/\xff\x80?q=\xe4", "/\xff\x80?q=\xe4"],
  ])("with the rewrite %j turns %s into %s", (path, from, to) => {
    expect(prepare({ path: from }, path && { path }).path).toBe(to);
  });
});

describe("prepareOutbound: a request that cannot be sent", () => {
  it.each<[string, Partial<RequestParts>, string]>([
    ["an absolute URL", { path: "http://other/" }, "the path does not begin with /"],
    ["a userinfo trick", { path: "@other/" }, "the path does not begin with /"],
    ["OPTIONS *", { method: "OPTIONS", path: "*" }, "the path does not begin with /"],
    ["no path", { path: "" }, "the path does not begin with /"],
    [
      "a second request line",
      { path: "/ HTTP/1.1\r\nhost: other\r\n\r\n" },
      "the path contains a space, a line break or",
    ],
    ["a space", { path: "/a b" }, "the path contains a space"],
    ["a NUL", { path: "/a\0b" }, "control character"],
    ["CONNECT", { method: "CONNECT", path: "/" }, "CONNECT opens a tunnel"],
    ["a method with a space", { method: "GET /x" }, "the method has a character that HTTP does not allow"],
    ["no method", { method: "" }, "the method is empty"],
    ["a header name with a colon", { headers: ["a:b", "1"] }, "a header name has a character that HTTP does not allow"],
    ["a line break in a value", { headers: ["x-a", "1\r\nx-b: 2"] }, "header x-a contains a line break"],
    ["a NUL in a value", { headers: ["x-a", "1\0"] }, "header x-a contains"],
    ["a line break in an id", { id: "1\r\nx: y" }, "header x-mirror-id contains"],
  ])("is refused for %s", (_, parts, reason) => {
    const prepared = prepareOutbound(target(), request(parts), 1);

    expect(prepared).toEqual({ kind: "unsendable", reason: expect.stringContaining(reason) });
  });

  it("is refused for a line break in the original Host", () => {
    const prepared = prepareOutbound(target({ host: "original" }), request({ headers: ["host", "a\r\nx: y"] }), 1);

    expect(prepared).toEqual({
      kind: "unsendable",
      reason: expect.stringContaining("header host contains a line break"),
    });
  });

  it("is refused for a path that the rewrite has made invalid", () => {
    const path = { match: new Rewrite("^/+"), replace: "" };

    expect(prepareOutbound(target({ path }), request({ path: "/a" }), 1).kind).toBe("unsendable");
  });

  it("has a reason without captured bytes", () => {
    const hostile = fc.string({ unit: fc.constantFrom("s", "3", "\r", "\n", "\0", " "), minLength: 1 });
    fc.assert(
      fc.property(hostile, hostile, hostile, (path, method, value) => {
        const parts = { path: `/${path}`, method, headers: ["x", value] };
        const prepared = prepareOutbound(target(), request(parts), 1);
        if (prepared.kind === "unsendable") expect(prepared.reason).not.toMatch(/s3|\r|\n|\0/);
      }),
    );
  });
});

describe("isBodyIncomplete", () => {
  it.each<[string, Partial<RequestParts>, boolean]>([
    ["complete", { bodyState: "complete", headers: ["content-length", "9"] }, false],
    ["truncated", { bodyState: "truncated" }, true],
    ["omitted, if the request had none", { bodyState: "omitted", headers: ["host", "a"] }, false],
    ["omitted in an access log, of a POST", { bodyState: "omitted", headers: [], method: "POST" }, true],
    ["omitted in an access log, of a GET", { bodyState: "omitted", headers: [], method: "GET" }, false],
    ["omitted, with length 0", { bodyState: "omitted", headers: ["Content-Length", "0"] }, false],
    ["omitted, with length 9", { bodyState: "omitted", headers: ["Content-Length", "9"] }, true],
    [
      "omitted, in a POST over HTTP/2, which needs no length",
      { bodyState: "omitted", headers: [], version: "2.0" },
      true,
    ],
    [
      "omitted and chunked, whatever its length says",
      { bodyState: "omitted", headers: ["content-length", "0", "transfer-encoding", "chunked"] },
      true,
    ],
    ["omitted and chunked", { bodyState: "omitted", headers: ["Transfer-Encoding", "chunked"] }, true],
  ])("decides for a body that is %s", (_, parts, incomplete) => {
    expect(isBodyIncomplete(request(parts))).toBe(incomplete);
  });

  it("marks an incomplete body that is sent", () => {
    expect(added(prepare({ bodyState: "truncated" }).headers)["x-mirror-truncated"]).toBe("true");
    expect(added(prepare({ bodyState: "complete" }).headers)).not.toHaveProperty("x-mirror-truncated");
  });
});

function request(parts: Partial<RequestParts>) {
  return expectedRequest(parts, 0);
}

function prepare(
  parts: Partial<RequestParts>,
  changes: Parameters<typeof target>[0] = {},
  attempt = 1,
): OutboundRequest {
  const prepared = prepareOutbound(target(changes), request(parts), attempt);
  if (prepared.kind !== "send") throw new Error(prepared.reason);
  return prepared.request;
}

/** The headers between Host and the headers that the relay adds. */
function captured({ headers }: OutboundRequest): readonly string[] {
  return headers.slice(2, headers.indexOf("x-mirror-id"));
}

function added(headers: readonly string[]): Record<string, string> {
  return Object.fromEntries(pairsOf(headers.slice(headers.indexOf("x-mirror-id"))));
}

function pairsOf(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
}
