import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { type OutboundRequest, prepareOutbound } from "../../../relay/replay/outbound.ts";
import type { AnswerTimes } from "../../../relay/replay/outcome.ts";
import { Transport } from "../../../relay/replay/transport.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";
import { target } from "../../support/data/targets.ts";
import { caFile, ShadowServer } from "../../support/servers/shadow-server.ts";
import { isWhole, WireServer } from "../../support/servers/wire-server.ts";

describe("Transport: answers", () => {
  it.each([200, 204, 301, 302, 304, 404, 429, 500, 503, 599])("counts %i as an answer", async (status) => {
    const shadow = await ShadowServer.start(() => ({ status, headers: { location: "/elsewhere" } }));

    expect(await transportTo(shadow.url).send(outbound())).toMatchObject({ kind: "answered", status });
    expect(shadow.paths).toEqual(["/"]);
  });

  it("counts the answer to a HEAD as complete, whatever its Content-Length, and sends the next request", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 200, headers: { "content-length": "5000" } }));
    const transport = transportTo(shadow.url, { concurrency: 1 });

    expect(await transport.send(outbound({ method: "HEAD" }))).toMatchObject({ kind: "answered", status: 200 });
    expect(await transport.send(outbound({ method: "HEAD" }))).toMatchObject({ kind: "answered", status: 200 });
  });

  it.each([
    ["103 Early Hints", "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"],
    ["102 Processing, twice", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"],
  ])("waits for the answer behind %s", async (_, interim) => {
    const wire = await WireServer.start((bytes) =>
      isWhole(bytes) ? `${interim}HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n` : undefined,
    );

    expect(await transportTo(wire.url).send(outbound())).toMatchObject({ kind: "answered", status: 404 });
  });

  it.each([
    [100, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
    [101, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"],
  ])("counts an unexpected %i as an answer", async (status, answer) => {
    const wire = await WireServer.start((bytes) => (isWhole(bytes) ? answer : undefined));

    expect(await transportTo(wire.url).send(outbound())).toMatchObject({ kind: "answered", status });
  });

  it("counts an answer whose body is cut off", async () => {
    const wire = await WireServer.start((bytes) =>
      isWhole(bytes) ? "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf" : undefined,
    );

    expect(await transportTo(wire.url).send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("counts an answer with 100 KiB of headers", async () => {
    const wire = await WireServer.start((bytes) =>
      isWhole(bytes) ? `HTTP/1.1 200 OK\r\nx-big: ${"a".repeat(100 * 1024)}\r\ncontent-length: 0\r\n\r\n` : undefined,
    );

    expect(await transportTo(wire.url).send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("closes the connection after it has read a MiB of an answer, and counts the answer", async () => {
    const flood = await FloodServer.start();
    const transport = transportTo(flood.url);

    expect(await transport.send(outbound())).toMatchObject({ kind: "answered", status: 200 });
    await flood.ended;
    expect(flood.sentBytes).toBeGreaterThan(1024 * 1024);
    // The buffers of the sockets hold more than was read.
    expect(flood.sentBytes).toBeLessThan(32 * 1024 * 1024);
    expect(await transport.send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("counts an answer whose body never ends when the timeout is over", async () => {
    // Long enough for the headers, even on a machine that stalls for a moment.
    const timeoutMs = 1_500;
    const open = await SlowServer.start("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");

    expect(await transportTo(open.url, { timeoutMs }).send(outbound())).toMatchObject({
      kind: "answered",
      status: 200,
    });
  });
});

describe("Transport: times", () => {
  it("include the connect time, unless the connection was already open", async () => {
    const shadow = await ShadowServer.start();
    const transport = transportTo(shadow.url, { concurrency: 1 });
    const [first, second] = [await timesOf(transport), await timesOf(transport)];

    expect(first.connectMs).toBeGreaterThan(0);
    expect(first.totalMs).toBeGreaterThanOrEqual((first.connectMs ?? 0) + first.firstByteMs);
    expect(second).toEqual({ firstByteMs: expect.any(Number), totalMs: expect.any(Number) });
    expect(shadow.connections).toBe(1);
  });

  it("include one connect time per connection", async () => {
    const gate = Promise.withResolvers<{ status: number }>();
    const shadow = await ShadowServer.start(() => gate.promise);
    const transport = transportTo(shadow.url, { concurrency: 5 });
    const all = Array.from({ length: 20 }, () => timesOf(transport));
    await shadow.arrived(5);
    gate.resolve({ status: 200 });

    const opened = (await Promise.all(all)).filter(({ connectMs }) => connectMs !== undefined);
    expect([opened.length, shadow.connections]).toEqual([5, 5]);
  });

  it("measure the first byte at the headers, and the total at the end of the body", async () => {
    const waits = { headersMs: 150, bodyMs: 250 };
    const wire = await slowly(waits);
    const { firstByteMs, totalMs, connectMs = Number.NaN } = await timesOf(transportTo(wire));

    // A timer may fire a millisecond early.
    expect(firstByteMs).toBeGreaterThanOrEqual(waits.headersMs - 2);
    expect(totalMs - firstByteMs - connectMs).toBeGreaterThanOrEqual(waits.bodyMs - 2);
  });

  it.each([
    ["an unexpected answer", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["an answer that is cut off", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"],
  ])("are also measured for %s", async (_, answer) => {
    const wire = await WireServer.start((bytes) => (isWhole(bytes) ? answer : undefined));

    expect((await timesOf(transportTo(wire.url))).firstByteMs).toBeGreaterThan(0);
  });
});

describe("Transport: a request is undelivered if", () => {
  it("the connection is refused", async () => {
    const shadow = await ShadowServer.start();
    const { url } = shadow;
    await shadow.close();

    expect(await transportTo(url).send(outbound())).toEqual({
      kind: "undelivered",
      reason: expect.stringContaining("ECONNREFUSED"),
      away: true,
    });
  });

  it("the host has no address", async () => {
    // DNS labels have at most 63 letters: the resolver does not even ask.
    const url = new URL(`http://${"a".repeat(64)}.invalid`);

    expect(await transportTo(url).send(outbound())).toEqual({
      kind: "undelivered",
      reason: expect.stringMatching(/ENOTFOUND|EAI_/),
      away: true,
    });
  });

  it.each([429, 503])("the shadow answers %i with Retry-After", async (status) => {
    const shadow = await ShadowServer.start(() => ({ status, headers: { "retry-after": "7" } }));

    expect(await transportTo(shadow.url).send(outbound())).toEqual({
      kind: "undelivered",
      reason: `the shadow answered ${status} with Retry-After`,
      retryAfterMs: 7_000,
    });
  });

  it("the Retry-After is repeated: the first one counts", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 503, headers: { "retry-after": ["7", "9"] } }));

    expect(await transportTo(shadow.url).send(outbound())).toMatchObject({ kind: "undelivered", retryAfterMs: 7_000 });
  });

  it("the Retry-After is a date; the wait is at most 15 minutes", async () => {
    const date = new Date(Date.now() + 86_400_000).toUTCString();
    const shadow = await ShadowServer.start(() => ({ status: 503, headers: { "retry-after": date } }));

    expect(await transportTo(shadow.url).send(outbound())).toMatchObject({ retryAfterMs: 900_000 });
  });

  it("there is no connection within the timeout", async () => {
    const silent = await SlowServer.start("");
    const url = new URL(silent.url);
    url.protocol = "https:";

    expect(await transportTo(url, { timeoutMs: 100 }).send(outbound())).toEqual({
      kind: "undelivered",
      reason: "no connection within 100 ms",
      away: true,
    });
  });

  it("it is sent after the transport was closed; requests in flight at that time are stopped", async () => {
    const shadow = await ShadowServer.start(() => "hang");
    const transport = transportTo(shadow.url, { concurrency: 1 });
    const sent = [transport.send(outbound()), transport.send(outbound())];
    await shadow.arrived(1);
    await transport.close();

    expect((await Promise.all(sent)).map(({ kind }) => kind)).toEqual(["stopped", "stopped"]);
    expect((await transport.send(outbound())).kind).toBe("undelivered");
  });
});

describe("Transport: timeout", () => {
  it("distinguishes a request without an answer in time from an undelivered one, and sends the next request", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/hang" ? "hang" : { status: 200 }));
    // Long enough for the request that is answered, even on a machine that stalls for a moment.
    const transport = transportTo(shadow.url, { timeoutMs: 1_500, concurrency: 1 });

    expect(await transport.send(outbound({ path: "/hang" }))).toEqual({
      kind: "timedOut",
      reason: "no answer within 1500 ms",
    });
    expect(await transport.send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });
});

describe("Transport: the wire", () => {
  it("sends path, headers and body unchanged, with the same bytes, order, case and repeats", async () => {
    const body = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const bytes = Array.from({ length: 128 }, (_, i) => String.fromCharCode(0x80 + i)).join("");
    const headers = ["X-B", "1", "x-a", bytes, "X-B", "2", "COOKIE", "a=1", "cookie", "b=2", "x-empty", ""];

    const wire = await send(outbound({ method: "POST", path: `/${bytes}?${bytes}`, headers, body }));

    expect(wire.toString("latin1")).toBe(
      `POST /${bytes}?${bytes} HTTP/1.1\r\nhost: HOST\r\nconnection: keep-alive\r\nX-B: 1\r\nx-a: ${bytes}\r\nX-B: 2\r\n` +
        `COOKIE: a=1\r\ncookie: b=2\r\nx-empty: \r\ncontent-length: 256\r\n\r\n${body.toString("latin1")}`,
    );
  });

  it.each([
    ["GET", "", undefined],
    ["GET", "query", "5"],
    ["HEAD", "", undefined],
    ["POST", "", "0"],
    ["POST", "abc", "3"],
    ["PUT", "", "0"],
    ["PATCH", "", "0"],
    ["DELETE", "", undefined],
    ["DELETE", "abc", "3"],
    ["OPTIONS", "", undefined],
    ["OPTIONS", "abc", "3"],
    ["PROPFIND", "<a/>", "4"],
    ["PURGE", "", undefined],
    ["REPORT", "abc", "3"],
  ])("sends the right Content-Length of a %s with the body %j", async (method, body, length) => {
    const wire = (await send(outbound({ method, body: Buffer.from(body) }))).toString("latin1");

    expect(/\r\ncontent-length: (\d+)\r\n/.exec(wire)?.[1]).toBe(length);
    expect(wire.match(/content-length|transfer-encoding/gi)?.length ?? 0).toBe(length === undefined ? 0 : 1);
    expect(wire.endsWith(`\r\n\r\n${body}`)).toBe(true);
  });

  it("never has more connections than its concurrency", async () => {
    const shadow = await ShadowServer.start();
    const transport = transportTo(shadow.url, { concurrency: 3 });
    await Promise.all(Array.from({ length: 30 }, () => transport.send(outbound())));

    expect(shadow.mostAtOnce).toBeLessThanOrEqual(3);
    expect(shadow.received.length).toBe(30);
  });
});

describe("Transport: hostile requests", () => {
  it("reach only the target, and do not break the next request", async () => {
    const shadow = await ShadowServer.start();
    const other = await ShadowServer.start();
    const host = `127.0.0.1:${other.port}`;
    const transport = transportTo(shadow.url, { concurrency: 1 });
    const hostile = target({ url: shadow.url, host: "original" });
    const attempts = [
      { path: `http://${host}/` },
      { path: `//${host}/` },
      { path: `/\\${host}/` },
      { path: `@${host}/` },
      { path: `/@${host}/` },
      { path: `:80@${host}/` },
      { path: `/ HTTP/1.1\r\nHost: ${host}\r\n\r\nGET http://${host}/` },
      { path: "/a b" },
      { path: "/a\0" },
      { path: "/", method: "CONNECT" },
      { path: host, method: "CONNECT" },
      { path: "/", method: `GET http://${host}/ HTTP/1.1\r\n` },
      { path: "/", headers: ["host", host] },
      { path: "/", headers: ["Host", `${host}\r\nx: y`] },
      { path: "/", headers: ["Host", `x@${host}`] },
      { path: "/", headers: ["x", `a\r\nHost: ${host}`] },
      { path: "/", headers: ["x\r\nHost", host] },
    ];

    for (const attempt of attempts) {
      const prepared = prepareOutbound(hostile, expectedRequest({ headers: ["host", host], ...attempt }, 0), 1);
      if (prepared.kind === "send") await transport.send(prepared.request);
    }

    expect(await transport.send(outbound({ path: "/last" }))).toMatchObject({ kind: "answered", status: 200 });
    expect(shadow.paths).toEqual([`//${host}/`, `/\\${host}/`, `/@${host}/`, "/", "/", "/last"]);
    expect(other.received).toEqual([]);
  });

  it("are refused before they are sent, whatever bytes they contain", async () => {
    const shadow = await ShadowServer.start();
    const transport = transportTo(shadow.url, { concurrency: 1 });
    const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
    const likely = fc.constantFrom("a", "/", ":", "x", " ", "\r", "\n", "\0", "\x7f", "\xff");
    const bytes = fc.string({ unit: fc.oneof(likely, byte), maxLength: 2 });
    const name = fc.oneof(bytes, fc.constantFrom("x-a", "upgrade", "expect", "connection", "transfer-encoding"));
    const method = fc.oneof(bytes, fc.constantFrom("GET", "POST", "CONNECT"));
    let sent = 0;
    await fc.assert(
      fc.asyncProperty(method, bytes, name, bytes, async (method, path, headerName, value) => {
        const parts = { method, path: `/${path}`, headers: [headerName, value] };
        const prepared = prepareOutbound(target({ url: shadow.url, host: "original" }), expectedRequest(parts, 0), 1);
        // The shadow may answer anything: its parser is not under test.
        if (prepared.kind !== "send") return;
        sent++;
        expect((await transport.send(prepared.request)).kind).toBe("answered");
      }),
      { numRuns: 500 },
    );

    expect(sent).toBeGreaterThan(20);
    expect(await transport.send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });
});

describe("Transport: TLS", () => {
  it("checks the certificate unless `verify` is false", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 200 }), "address");

    expect(await transportTo(shadow.url).send(outbound())).toEqual({
      kind: "undelivered",
      reason: expect.stringMatching(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED/),
      away: true,
    });
    expect(shadow.received).toEqual([]);
    const trusting = transportTo(shadow.url, { tls: { verify: false } });
    expect(await trusting.send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("gives the reason in one line, which is the same each time", async () => {
    const silent = await listen((socket) => socket.end(Buffer.from("15030300020228", "hex")));
    silent.protocol = "https:";
    const outcomes = [await transportTo(silent).send(outbound()), await transportTo(silent).send(outbound())];

    expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size).toBe(1);
    expect(outcomes[0]).toMatchObject({ reason: expect.stringMatching(/^[A-Z0-9_/]+: [a-z0-9/ ]+$/), away: true });
  });

  it("trusts the configured CA", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 200 }), "address");
    const transport = transportTo(shadow.url, { tls: { verify: true, ca: caFile } });

    expect(await transport.send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("refuses a certificate with another name, even if the Host header has that name", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 200 }), "name");
    const transport = transportTo(shadow.url, { tls: { verify: true, ca: caFile } });

    for (const headers of [[], ["host", "shop.example"]]) {
      expect(await transport.send(outbound({ headers }))).toEqual({
        kind: "undelivered",
        reason: expect.stringContaining("ERR_TLS_CERT_ALTNAME_INVALID"),
        away: true,
      });
    }
    expect(shadow.received).toEqual([]);
  });

  it("uses the address of the target and one connection, whatever the Host header is", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 200 }), "address");
    const transport = transportTo(shadow.url, { tls: { verify: true, ca: caFile }, concurrency: 1 });
    const hosts = ["a.example", "b.example", "c.example:80"];

    for (const host of hosts) {
      expect(await transport.send(outbound({ headers: ["host", host] }))).toMatchObject({
        kind: "answered",
        status: 200,
      });
    }
    expect(shadow.received.map(({ headers }) => headers.host)).toEqual(hosts);
    expect(shadow.connections).toBe(1);
  });

  it("checks the certificate against the configured name", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 200 }), "name");
    const tls = { verify: true, ca: caFile, serverName: "shop.example" };

    expect(await transportTo(shadow.url, { tls }).send(outbound())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("cannot be created if the CA file is missing", () => {
    expect(() => transportTo(new URL("https://127.0.0.1:9"), { tls: { verify: true, ca: "/nowhere.pem" } })).toThrow(
      "/nowhere.pem",
    );
  });
});

function transportTo(url: URL, changes: Partial<TargetConfig> = {}): Transport {
  const transport = new Transport(target({ url, ...changes }));
  onTestFinished(() => transport.close());
  return transport;
}

async function timesOf(transport: Transport): Promise<AnswerTimes> {
  const outcome = await transport.send(outbound());
  if (outcome.kind !== "answered" || !outcome.times) throw new Error(`not answered: ${JSON.stringify(outcome)}`);
  return outcome.times;
}

/** A server that waits before the headers, and again, once the client has seen them, before the body. */
async function slowly({ headersMs, bodyMs }: { headersMs: number; bodyMs: number }): Promise<URL> {
  const seen = Promise.withResolvers<void>();
  const onHeaders = () => seen.resolve();
  subscribe("undici:request:headers", onHeaders);
  onTestFinished(() => void unsubscribe("undici:request:headers", onHeaders));
  return listen((socket) =>
    socket.once("data", async () => {
      await sleep(headersMs);
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
      await seen.promise;
      await sleep(bodyMs);
      socket.write("hi");
    }),
  );
}

function outbound(changes: Partial<OutboundRequest> = {}): OutboundRequest {
  return { method: "GET", path: "/", headers: [], body: new Uint8Array(), ...changes };
}

/** The bytes that a server receives of the request, with its own address replaced by HOST. */
async function send(request: OutboundRequest): Promise<Buffer> {
  const wire = await WireServer.start((bytes) => (isWhole(bytes) ? "HTTP/1.1 204 No Content\r\n\r\n" : undefined));
  expect(await transportTo(wire.url).send(request)).toMatchObject({ kind: "answered", status: 204 });
  return Buffer.from(wire.received[0].toString("latin1").replace(wire.url.host, "HOST"), "latin1");
}

/** Sends its bytes to each client that connects, and leaves the connection open. */
class SlowServer {
  readonly url: URL;

  static async start(bytes: string): Promise<SlowServer> {
    return new SlowServer(await listen((socket) => socket.write(bytes)));
  }

  private constructor(url: URL) {
    this.url = url;
  }
}

/** Answers with a body that ends only when the connection is closed. */
class FloodServer {
  sentBytes = 0;
  readonly ended: Promise<void>;
  url = new URL("http://127.0.0.1");
  #end: () => void = () => {};

  static async start(): Promise<FloodServer> {
    const flood = new FloodServer();
    flood.url = await listen((socket) => flood.#serve(socket));
    return flood;
  }

  private constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  #serve(socket: Socket): void {
    const block = Buffer.alloc(64 * 1024);
    const pour = () => {
      do this.sentBytes += block.length;
      while (socket.write(block));
    };
    socket.on("close", () => this.#end());
    socket.on("drain", pour);
    socket.once("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${2 ** 40}\r\n\r\n`);
      pour();
    });
  }
}

async function listen(serve: (socket: Socket) => void): Promise<URL> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return new URL(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
}
