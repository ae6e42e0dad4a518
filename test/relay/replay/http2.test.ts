import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { prepareOutbound } from "../../../relay/replay/outbound.ts";
import type { Outcome } from "../../../relay/replay/outcome.ts";
import { Transport } from "../../../relay/replay/transport.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";
import { target } from "../../support/data/targets.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";
import { WireServer } from "../../support/servers/wire-server.ts";

const http2 = ["h2c", "h2", "auto"] as const;

// Bytes of RFC 9113. The body of a frame HEADERS with 0x88 is `:status: 200`.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const emptySettings = Buffer.from("000000040000000000", "hex");
const status200 = Buffer.from("00000101050000000188", "hex");
const brokenFrames: readonly (readonly [string, Buffer])[] = [
  ["SETTINGS of 5 bytes", Buffer.from("0000050400000000000000000000", "hex")],
  ["DATA on a stream that nobody opened", Buffer.from("00000100000000006378", "hex")],
  ["a field that HPACK does not know", Buffer.from("000003010500000001ffffff", "hex")],
];

describe("Transport: HTTP/2", () => {
  it.each(http2)("carries a request whole, and only what HTTP/2 allows: %s", async (protocol) => {
    const shadow = await Http2Shadow.start(protocol);
    const captured = expectedRequest(
      {
        method: "POST",
        path: "/shop.Orders/Place?a=%20",
        headers: [
          ...["Host", "shop.example", "Connection", "keep-alive, X-Hop", "X-Hop", "1", "Transfer-Encoding", "chunked"],
          ...["TE", "trailers", "Content-Type", "application/grpc", "X-B", "1", "x-b", "2", "Cookie", "a=1"],
          ...["Keep-Alive", "timeout=5", "HTTP2-Settings", "AAMAAABk", "Upgrade", "h2c", "Content-Length", "7"],
        ],
        body: Buffer.from("\0\0\0\0\x02ab"),
      },
      0,
    );
    const prepared = prepareOutbound(target({ url: shadow.url, protocol, host: "original" }), captured, 1);
    if (prepared.kind !== "send") throw new Error(prepared.reason);

    expect(await shadow.transport().send(prepared.request)).toMatchObject({ kind: "answered", status: 200 });
    const [{ headers, body }] = shadow.received;
    expect(headers).toMatchObject({
      ":method": "POST",
      ":path": "/shop.Orders/Place?a=%20",
      ":authority": "shop.example",
      ":scheme": protocol === "h2c" ? "http" : "https",
      te: "trailers",
      "content-type": "application/grpc",
      "content-length": "7",
      "x-hop": "1",
      "x-b": "1, 2",
      cookie: "a=1",
      "x-mirror-attempt": "1",
    });
    for (const name of ["connection", "transfer-encoding", "keep-alive", "http2-settings", "upgrade", "host"]) {
      expect(headers).not.toHaveProperty(name);
    }
    expect(body).toEqual(Buffer.from("\0\0\0\0\x02ab"));
  });

  it("reads the trailers of an answer, as those of gRPC", async () => {
    const shadow = await Http2Shadow.start("h2c", (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.from("\0\0\0\0\x02ok", "latin1"));
    });

    expect(await post(shadow.transport())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("counts an answer that has only trailers", async () => {
    const shadow = await Http2Shadow.start("h2c", (stream) => {
      stream.respond({ ":status": 200, "grpc-status": "12" }, { endStream: true });
    });

    expect(await post(shadow.transport())).toMatchObject({ kind: "answered", status: 200 });
  });

  it("sends all requests at once on one connection", async () => {
    const waiting: ServerHttp2Stream[] = [];
    const shadow = await Http2Shadow.start("h2c", (stream) => {
      waiting.push(stream);
      if (waiting.length === 20) for (const each of waiting) each.respond({ ":status": 204 }, { endStream: true });
    });
    const transport = shadow.transport({ concurrency: 20 });
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => post(transport)));

    expect(outcomes.every(({ kind }) => kind === "answered")).toBe(true);
    expect(shadow.connections).toBe(1);
  });

  it("has no more requests in flight on a connection than the shadow allows, and opens more connections", async () => {
    let atOnce = 0;
    let most = 0;
    const shadow = await Http2Shadow.start(
      "h2c",
      (stream) => {
        most = Math.max(most, ++atOnce);
        setImmediate(() => {
          atOnce--;
          stream.respond({ ":status": 204 }, { endStream: true });
        });
      },
      { maxConcurrentStreams: 3 },
    );
    const transport = shadow.transport({ concurrency: 4 });
    await post(transport);
    const outcomes = await Promise.all(Array.from({ length: 60 }, () => post(transport)));

    expect(outcomes.every(({ kind }) => kind === "answered")).toBe(true);
    expect(shadow.connections).toBeLessThanOrEqual(4);
    expect(most).toBeLessThanOrEqual(3 * 4);
  });

  it("chooses HTTP/1 with `auto` if the shadow does, with many connections", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 200 }), "address");
    const transport = transportTo(shadow.url, { protocol: "auto", concurrency: 4 });
    const outcomes = await Promise.all(Array.from({ length: 12 }, () => post(transport)));

    expect(outcomes.every(({ kind }) => kind === "answered")).toBe(true);
    expect(shadow.received.length).toBe(12);
    expect(shadow.mostAtOnce).toBeLessThanOrEqual(4);
  });

  it("says which setting is wrong if the shadow does not speak it", async () => {
    const plain = await ShadowServer.start();
    const secure = await ShadowServer.start(() => ({ status: 200 }), "address");

    expect(await post(transportTo(plain.url, { protocol: "h2c" }))).toEqual({
      kind: "undelivered",
      reason: "the shadow does not speak HTTP/2: set its protocol to http1",
      away: true,
    });
    expect(await post(transportTo(secure.url, { protocol: "h2" }))).toMatchObject({
      kind: "undelivered",
      reason: expect.stringMatching(/protocol to http1|no_application_protocol|no application protocol/),
      away: true,
    });
    expect([plain.received, secure.received]).toEqual([[], []]);
  });
});

describe("Transport: HTTP/2 that is not spoken, or broken", () => {
  it("none of many requests at once was acted on if the shadow answers with HTTP/1", async () => {
    const wire = await WireServer.start(() => "HTTP/1.1 400 Bad Request\r\n\r\n");
    const transport = transportTo(wire.url, { protocol: "h2c", concurrency: 3 });
    const outcomes = await Promise.all([post(transport), post(transport), post(transport)]);

    expect(outcomes.map(({ kind }) => kind)).toEqual(["undelivered", "undelivered", "undelivered"]);
    expect(outcomes).toContainEqual(expect.objectContaining({ reason: expect.stringContaining("protocol to http1") }));
  });

  it.each(brokenFrames)("may have been acted on if the shadow has answered before: %s", async (_, broken) => {
    const shadow = await serveFrames(createTcpServer(), "connection", [status200, broken]);
    let nowMs = 0;
    const url = new URL(`http://127.0.0.1:${shadow.port}`);
    const transport = new Transport(target({ url, protocol: "h2c" }), () => nowMs);
    onTestFinished(() => transport.close());

    expect(await post(transport)).toMatchObject({ kind: "answered", status: 200 });
    // The next request gets a new connection.
    nowMs += 60_000;
    expect(await post(transport)).toMatchObject({ kind: "closed" });
    expect(shadow.requests).toBe(2);
  });

  it.each(brokenFrames)("may have been acted on if the shadow has chosen HTTP/2 in TLS: %s", async (_, broken) => {
    const options = { key: fixture("address.key"), cert: fixture("address.pem"), ALPNProtocols: ["h2"] };
    const shadow = await serveFrames(createTlsServer(options), "secureConnection", [broken]);
    const transport = transportTo(new URL(`https://127.0.0.1:${shadow.port}`), { protocol: "h2" });

    expect(await post(transport)).toMatchObject({ kind: "closed" });
    expect(shadow.requests).toBe(1);
  });

  it("a request with a head of more than 64 KiB is unsendable, and the next ones are answered", async () => {
    const shadow = await Http2Shadow.start("h2c");
    const transport = shadow.transport();
    await post(transport);
    const sizes = Array.from({ length: 40 }, (_, i) => 63_000 + i * 100);
    const outcomes: Outcome[] = [];
    for (const size of sizes) outcomes.push(await send(transport, { headers: ["x-large", "a".repeat(size)] }));
    const many = Array.from({ length: 5_000 }, (_, i) => [`x-${i}`, ""]).flat();
    outcomes.push(await send(transport, { headers: many }));

    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["answered", "unsendable"]));
    expect(outcomes.at(-1)?.kind).toBe("unsendable");
    expect(await post(transport)).toMatchObject({ kind: "answered" });
    expect(await post(transport)).toMatchObject({ kind: "answered" });
  });

  it("a connection whose shadow allows no more streams is left after a timeout", async () => {
    const shadow = await Http2Shadow.start("h2c", (stream) => {
      const respond = () => stream.respond({ ":status": 204 }, { endStream: true });
      if (shadow.connections > 1) respond();
      else stream.session?.settings({ maxConcurrentStreams: 0 }, respond);
    });
    const transport = shadow.transport({ concurrency: 1, timeoutMs: 2_000 });

    expect(await post(transport)).toMatchObject({ kind: "answered" });
    expect(await post(transport)).toMatchObject({ kind: "undelivered" });
    expect(await post(transport)).toMatchObject({ kind: "answered" });
  });
});

describe("Transport: HTTP/2 streams that end without an answer", () => {
  it.each([
    ["REFUSED_STREAM", constants.NGHTTP2_REFUSED_STREAM],
    ["HTTP_1_1_REQUIRED", constants.NGHTTP2_HTTP_1_1_REQUIRED],
  ])("with %s were not acted on, and do not say that the whole shadow is away", async (_, code) => {
    const shadow = await Http2Shadow.start("h2c", (stream) => stream.close(code));

    expect(await post(shadow.transport())).toMatchObject({ kind: "undelivered", away: false });
  });

  it.each([
    ["NO_ERROR", constants.NGHTTP2_NO_ERROR],
    ["PROTOCOL_ERROR", constants.NGHTTP2_PROTOCOL_ERROR],
    ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR],
    ["CANCEL", constants.NGHTTP2_CANCEL],
    ["ENHANCE_YOUR_CALM", constants.NGHTTP2_ENHANCE_YOUR_CALM],
  ])("with %s leave open whether the shadow has acted, and are sent once", async (_, code) => {
    const shadow = await Http2Shadow.start("h2c", (stream) => stream.close(code));

    expect(await post(shadow.transport())).toEqual({
      kind: "closed",
      reason: expect.stringMatching(/^the shadow ended the stream/),
    });
    expect(shadow.received.length).toBe(1);
  });

  it.each([
    ["reset", (socket: Socket) => socket.resetAndDestroy()],
    ["closed", (socket: Socket) => socket.destroy()],
  ])("because the connection was %s leave open whether the shadow has acted, and are sent once", async (_, end) => {
    const shadow = await Http2Shadow.start("h2c", (_stream, socket) => end(socket));
    const transport = shadow.transport();
    const outcomes = await Promise.all([post(transport), post(transport), post(transport)]);

    expect(outcomes.map(({ kind }) => kind)).toEqual(["closed", "closed", "closed"]);
    expect(shadow.received.length).toBeLessThanOrEqual(3);
  });

  it("behind the last one of a GOAWAY are sent again on a new connection, and each arrives once", async () => {
    const answered = new Map<string, number>();
    const shadow = await Http2Shadow.start("h2c", (stream, _socket, headers) => {
      const id = String(headers["x-id"]);
      // Every fifth request ends its connection: those behind it are not looked at.
      if (stream.session?.destroyed || stream.session?.closed) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
      answered.set(id, (answered.get(id) ?? 0) + 1);
      stream.respond({ ":status": 204 }, { endStream: true });
      if (answered.size % 5 === 0) stream.session?.close();
    });
    const transport = shadow.transport({ concurrency: 8 });
    const outcomes: Outcome[] = [];
    for (let i = 0; i < 200; i += 8) {
      outcomes.push(...(await Promise.all(Array.from({ length: 8 }, (_, n) => post(transport, String(i + n))))));
    }

    expect([...answered.values()].every((count) => count === 1)).toBe(true);
    outcomes.forEach((outcome, i) => {
      expect([i, outcome.kind === "answered"]).toEqual([i, answered.has(String(i))]);
      expect([i, outcome.kind]).not.toEqual([i, "closed"]);
    });
  });

  it("do not harm the other streams of their connection: a timeout, a reset, an answer that is too long", async () => {
    const slow: ServerHttp2Stream[] = [];
    const shadow = await Http2Shadow.start("h2c", (stream, _socket, headers) => {
      const path = headers[":path"];
      if (path === "/hang") return;
      if (path === "/reset") return stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      if (path === "/long") return stream.respond({ ":status": 200 }) ?? stream.end(Buffer.alloc(4 * 1024 * 1024));
      slow.push(stream);
    });
    const transport = shadow.transport({ concurrency: 8, timeoutMs: 2_000 });
    const good = post(transport, "good");
    const bad = ["/reset", "/long"].map((path) => send(transport, { path }));

    expect((await Promise.all(bad)).map(({ kind }) => kind)).toEqual(["closed", "answered"]);
    slow[0].respond({ ":status": 204 }, { endStream: true });
    expect(await good).toMatchObject({ kind: "answered", status: 204 });
    expect(shadow.connections).toBe(1);
  });

  it("with a timeout end a connection that is silent: the next request has another", async () => {
    const shadow = await Http2Shadow.start("h2c", (stream) => {
      if (shadow.connections > 1) stream.respond({ ":status": 204 }, { endStream: true });
    });
    const transport = shadow.transport({ timeoutMs: 1_000 });

    expect(await post(transport)).toMatchObject({ kind: "timedOut" });
    expect(await post(transport)).toMatchObject({ kind: "answered", status: 204 });
  });
});

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

type Answer = (stream: ServerHttp2Stream, socket: Socket, headers: IncomingHttpHeaders) => unknown;

/** A server of HTTP/2, with TLS except for h2c. */
class Http2Shadow {
  readonly received: Received[] = [];
  connections = 0;
  readonly #protocol: (typeof http2)[number];
  readonly #server: Http2Server | Http2SecureServer;

  static async start(
    protocol: (typeof http2)[number],
    answer: Answer = (stream) => stream.respond({ ":status": 200 }, { endStream: true }),
    settings: { readonly maxConcurrentStreams?: number } = {},
  ): Promise<Http2Shadow> {
    const shadow = new Http2Shadow(protocol, settings);
    const sockets: Socket[] = [];
    shadow.#server.on(protocol === "h2c" ? "connection" : "secureConnection", (socket: Socket) => {
      shadow.connections++;
      socket.on("error", () => {});
      sockets.push(socket);
    });
    shadow.#server.on("sessionError", () => {});
    shadow.#server.on("stream", async (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      stream.on("error", () => {});
      const socket = sockets.at(-1) as Socket;
      const received = { headers, body: Buffer.alloc(0) };
      shadow.received.push(received);
      for await (const chunk of stream) received.body = Buffer.concat([received.body, chunk]);
      answer(stream, socket, headers);
    });
    shadow.#server.listen(0, "127.0.0.1");
    await once(shadow.#server, "listening");
    onTestFinished(() => {
      shadow.#server.close();
      for (const socket of sockets) socket.destroy();
    });
    return shadow;
  }

  private constructor(protocol: (typeof http2)[number], settings: { readonly maxConcurrentStreams?: number }) {
    this.#protocol = protocol;
    this.#server =
      protocol === "h2c"
        ? createServer({ settings })
        : createSecureServer({ settings, key: fixture("address.key"), cert: fixture("address.pem") });
  }

  get url(): URL {
    const { port } = this.#server.address() as AddressInfo;
    return new URL(`${this.#protocol === "h2c" ? "http" : "https"}://127.0.0.1:${port}`);
  }

  transport(changes: Partial<TargetConfig> = {}): Transport {
    return transportTo(this.url, { protocol: this.#protocol, ...changes });
  }
}

function transportTo(url: URL, changes: Partial<TargetConfig>): Transport {
  const transport = new Transport(target({ url, tls: { verify: false }, ...changes }));
  onTestFinished(() => transport.close());
  return transport;
}

function post(transport: Transport, id = "0"): Promise<Outcome> {
  return send(transport, { id });
}

function send(
  transport: Transport,
  { path = "/", id = "0", headers = [] }: { path?: string; id?: string; headers?: readonly string[] },
): Promise<Outcome> {
  const all = ["host", "a", "x-id", id, ...headers];
  return transport.send({ method: "POST", path, headers: all, body: Buffer.from("order") });
}

/** Sends SETTINGS and the next answer as soon as a connection has sent a request; then the connection stays open. */
async function serveFrames(server: Server, event: string, answers: readonly Buffer[]) {
  const shadow = { port: 0, requests: 0 };
  server.on(event, (socket: Socket) => {
    let bytes = Buffer.alloc(0);
    let answered = false;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (answered || !hasHeaders(bytes)) return;
      answered = true;
      socket.write(Buffer.concat([emptySettings, answers[shadow.requests++]]));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  shadow.port = (server.address() as AddressInfo).port;
  return shadow;
}

/** Whether these bytes of a client contain a frame HEADERS. */
function hasHeaders(bytes: Buffer): boolean {
  for (let at = preface.length; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === 1) return true;
  }
  return false;
}

function fixture(name: string): Buffer {
  return readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url));
}
