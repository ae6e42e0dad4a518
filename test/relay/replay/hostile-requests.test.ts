import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { createLedger } from "../../../agent/ledger.ts";
import type { TargetConfig } from "../../../relay/config/config.ts";
import type { Pack } from "../../../relay/pack/pack.ts";
import { replayPack } from "../../../relay/replay/replay.ts";
import { Rewrite } from "../../../relay/rules/pattern.ts";
import { laneOf, openState } from "../../support/data/lanes.ts";
import { target } from "../../support/data/targets.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";
import { packInto, takeEverything } from "../../support/spop/plain-intake.ts";
import { bin, headersBinary, messageList, str, uint32 } from "../../support/spop/spop-frames.ts";

type Case = readonly [method: string, path: string, headers: readonly string[], body?: string];

/** Requests that try to leave for another host, to smuggle a second request, or to write headers of their own. */
function hostileCases(evil: string): readonly Case[] {
  const get = (path: string, ...headers: string[]): Case => ["GET", path, headers.length > 0 ? headers : ["host", "x"]];
  return [
    get(`http://${evil}/abs`),
    get(`//${evil}/dslash`, "host", evil),
    get(`/\\${evil}/bs`),
    get(`/@${evil}/at`, "host", `u@${evil}`),
    get(`@${evil}/at2`),
    get(`/crlf HTTP/1.1\r\nHost: ${evil}\r\n\r\nGET /smug`),
    get("/lf\nX-Inj: y"),
    get("/nul\0x"),
    get("/ok1", "host", "x\r\nX-Inj: 1"),
    get("/ok2", "x-a", "v\r\nX-Inj: 1"),
    get("/ok3", "x-a", "v\nX-Inj: 1"),
    get("/ok4", "x-a", "v\rX-Inj: 1"),
    get("/ok5", "x a", "v"),
    get("/ok6", "x-a ", "v"),
    get("/ok7", "x-a:", "v"),
    get("/ok8", "transfer-encoding ", "chunked"),
    [
      "POST",
      "/te1",
      ["transfer-encoding", "chunked", "content-length", "5"],
      "0\r\n\r\nGET /smug HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ["POST", "/te2", ["Transfer-Encoding", "xchunked", "Content-Length", "5", "content-length", "7"], "hello"],
    ["POST", "/te3", ["transfer_encoding", "chunked", "content_length", "7"], "hello"],
    ["POST", "/te4", ["Connection", "content-length, transfer-encoding, host, x-mirror-id"], "hello"],
    ["POST", "/te5", ["Content-Length", "+5"], "hello"],
    ["GET", "/getbody", ["Content-Length", "5"], "hello"],
    ["HEAD", "/headbody", ["Content-Length", "5"], "GET /smug HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["DELETE", "/delbody", ["Content-Length", "5"], "hello"],
    ["CONNECT", evil, ["host", evil]],
    ["CONNECT", "/x", ["host", evil]],
    ["connect", "/lowconnect", ["host", evil]],
    ["GET /inj HTTP/1.1\r\nA: b\r\n\r\nGET", "/m1", ["host", evil]],
    ["G ET", "/m2", ["host", evil]],
    ["OPTIONS", "*", ["host", evil]],
    ["PRI", "/pri", ["host", evil]],
    ["TRACE", "/trace", ["host", evil, "Max-Forwards", "0"]],
    get("/upg", "Connection", "upgrade", "Upgrade", "h2c", "HTTP2-Settings", "AAA"),
    get("/upg2", "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    get("/exp", "Expect", "100-continue"),
    get("/x-mirror", "X-Mirror-Target", "spoof", "X-Mirror-Attempt", "99"),
    get("/dup", "Host", "a", "Host", evil, "Cookie", "a=1", "Cookie", "b=2", "COOKIE", "c=3"),
    get("/hash#frag?x"),
    get("/hi\xff\x7f\x85", "x-hi", "\xff\x85"),
    get(`/a//${evil}/rewritten`),
    get(`/a@${evil}/rewritten`),
    get(`/ahttp://${evil}/rewritten`),
    get("/a/", "host", ""),
    get("/proto", "__proto__", "x", "constructor", "y", "toString", "z"),
    get("/keep", "Keep-Alive", "timeout=1", "Proxy-Connection", "keep-alive", "Proxy-Authorization", "Basic x"),
    get("/last?q=1", "host", evil),
  ];
}

describe("46 hostile requests", () => {
  const targets: readonly [string, Partial<TargetConfig>][] = [
    ["as it is", {}],
    ["with the captured Host", { host: "original" }],
    ["with a prefix", { path: { prefix: "/base" } }],
    ["with a rewrite that leaves the rest of the path", { path: { match: new Rewrite("^/a"), replace: "" } }],
  ];

  it.each(targets)("leave only for the shadow, each as one request, at a target %s", async (_, changes) => {
    let connections = 0;
    const elsewhere = createServer((socket) => {
      connections++;
      socket.destroy();
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void elsewhere.close());
    await once(elsewhere, "listening");
    const { port } = elsewhere.address() as { readonly port: number };
    const shadow = await ShadowServer.start();
    const captured = capture(hostileCases(`127.0.0.1:${port}`));
    const lane = laneOf(target({ url: shadow.url, ...changes }), openState());
    const settled = new Set<number>();
    const { dead, again, unsent } = await replayPack(lane, captured, captured.requests, {
      signal: new AbortController().signal,
      patient: true,
      onSettled: (index) => settled.add(index),
    });
    const refused = [...dead.values()].flat();

    expect(captured.requests.length).toBeGreaterThan(40);
    expect([again, unsent]).toEqual([[], []]);
    expect(settled.size + refused.length).toBe(captured.requests.length);
    expect(connections).toBe(0);
    expect(shadow.received.length).toBeLessThanOrEqual(settled.size);
    expect(shadow.paths).toContain(changes.path && "prefix" in changes.path ? "/base/last?q=1" : "/last?q=1");
    for (const { path, headers } of shadow.received) {
      expect(path).toMatch(/^\//);
      expect(path).not.toMatch(/smug|\/inj/);
      expect(headers).not.toHaveProperty("x-inj");
      expect(headers).not.toHaveProperty("proxy-authorization");
      expect(headers["x-mirror-target"]).toBe("staging");
      expect(headers["x-mirror-attempt"]).toBe("1");
      if (changes.host !== "original") expect(headers.host).toBe(shadow.url.host);
    }
  });
});

/** The pack that an agent makes of messages with these requests. */
function capture(cases: readonly Case[]): Pack {
  const ledger = createLedger();
  const packs: Pack[] = [];
  const packer = packInto(ledger, (pack) => packs.push(pack));
  const intake = takeEverything(ledger, packer);
  const messages = cases.map(([method, path, headers, body = ""]) => ({
    args: [
      ["method", str(method)],
      ["path", str(path)],
      ["ver", str("1.1")],
      ["hdrs", bin(headersBinary(headers))],
      ["body", bin(body)],
      ["body_len", uint32(body.length)],
    ] as [string, Buffer][],
  }));
  const bytes = messageList(messages);
  intake.take(bytes, 0, bytes.length, 16_380);
  packer.close();
  expect(packs).toHaveLength(1);
  return packs[0];
}
