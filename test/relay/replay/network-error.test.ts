import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Outcome } from "../../../relay/replay/outcome.ts";
import { Transport } from "../../../relay/replay/transport.ts";
import { target } from "../../support/data/targets.ts";
import { isWhole, WireServer } from "../../support/servers/wire-server.ts";

describe("Transport: an answer that is not HTTP", () => {
  const head = "HTTP/1.1 200 OK\r\n";

  it.each([
    ["two equal Content-Length fields", `${head}Content-Length: 0\r\nContent-Length: 0\r\n\r\n`],
    ["two different Content-Length fields", `${head}Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello`],
    ["a Content-Length with a sign", `${head}Content-Length: +5\r\n\r\nhello`],
    ["a negative Content-Length", `${head}Content-Length: -1\r\n\r\n`],
    ["a Content-Length beyond 64 bits", `${head}Content-Length: 99999999999999999999999\r\n\r\n`],
    [
      "a Content-Length beside Transfer-Encoding",
      `${head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ["a space in a field name", `${head}X Foo: bar\r\nContent-Length: 0\r\n\r\n`],
    ["a space before the colon", `${head}X-Foo : bar\r\nContent-Length: 0\r\n\r\n`],
    ["a field without a colon", `${head}X-Foo\r\nContent-Length: 0\r\n\r\n`],
    ["a folded field", `${head}X-Foo: a\r\n b\r\nContent-Length: 0\r\n\r\n`],
    ["NUL in a field value", `${head}X-Foo: a\0b\r\nContent-Length: 0\r\n\r\n`],
    ["bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"],
    ["the status 099", "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"],
    ["the status 000", "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"],
    ["no status", "HTTP/1.1 \r\n\r\n"],
    ["an unknown version", "HTTP/3.0 200 OK\r\n\r\n"],
    ["HTTP/0.9", "<html>hello</html>"],
    ["another protocol", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["bytes at random", Buffer.from("8f02aa7c10ff00", "hex")],
    ["a head of more than 1 MiB", `${head}X: ${"a".repeat(1024 * 1024)}\r\n\r\n`],
  ])("is malformed, and its request is sent once: %s", async (_, answer) => {
    const wire = await WireServer.start((bytes) => (isWhole(bytes) ? answer : undefined));

    expect(await post(wire.url)).toMatchObject({
      kind: "malformed",
      reason: expect.stringMatching(/^the answer is not HTTP: ./),
    });
    expect(wire.received.length).toBe(1);
  });

  it.each([
    ["chunk", `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ["chunk's end", `${head}Transfer-Encoding: chunked\r\n\r\n1\r\nabc`],
    ["length", `${head}Content-Length: 9\r\n\r\nshort`],
  ])("counts by its status if the flaw is in its body: its %s", async (_, answer) => {
    const wire = await WireServer.start((bytes) => (isWhole(bytes) ? answer : undefined));

    expect(await post(wire.url)).toMatchObject({ kind: "answered", status: 200 });
  });

  it("never makes an answer of other bytes: any bytes are malformed, or the connection was closed within a head", async () => {
    let answer = Buffer.alloc(0);
    const wire = await WireServer.start((bytes) => (isWhole(bytes) ? answer : undefined));
    const text = fc.constantFrom("HTTP/1.1", " 200", " OK", "\r\n", "\n", "X:", " ", "\0", "Content-Length: 1", "\x15");
    const bytes = fc.oneof(
      fc.array(text, { maxLength: 5 }).map((parts) => parts.join("")),
      fc.string({ unit: "binary" }),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (each) => {
        answer = Buffer.from(each, "latin1");
        // The whole head of an answer is an answer, whatever follows it.
        fc.pre(!/HTTP\/1\.[01] \d{3}.*\r\n\r\n/s.test(each));
        const before = wire.received.length;
        expect(["malformed", "closed"]).toContain((await post(wire.url)).kind);
        expect(wire.received.length).toBe(before + 1);
      }),
      { numRuns: 200 },
    );
  });
});

describe("Transport: a connection that ends", () => {
  it.each([
    [
      "reset",
      (socket: Socket) => socket.resetAndDestroy(),
      /^the shadow reset the connection \(E[A-Z]+\) without an answer$/,
    ],
    ["closed", (socket: Socket) => socket.end(), /^the shadow closed the connection without an answer$/],
    [
      "closed within the head",
      (socket: Socket) => socket.end("HTTP/1.1 200 O"),
      /^the shadow closed .* within the head/,
    ],
    [
      "closed after a header",
      (socket: Socket) => socket.end("HTTP/1.1 200 OK\r\nA: b\r\n"),
      / within the head of its answer$/,
    ],
    [
      "closed after an interim answer",
      (socket: Socket) => socket.end("HTTP/1.1 103 Early Hints\r\n\r\n"),
      /^the shadow closed/,
    ],
  ])("after the request was written leaves open whether the shadow has acted: %s", async (_, end, reason) => {
    const server = await listen((socket) => socket.once("data", () => end(socket)));

    for (const method of ["POST", "GET"]) {
      expect(await post(urlOf(server), method)).toEqual({ kind: "closed", reason: expect.stringMatching(reason) });
    }
  });
});

describe("Transport: a shadow that speaks another protocol", () => {
  it("does not act on the request, and the reason names the setting: TLS instead of plain text", async () => {
    const server = createTlsServer({ key: fixture("address.key"), cert: fixture("address.pem") });
    server.on("tlsClientError", () => {});
    const plain = await listen((socket) => socket.once("data", () => socket.end(Buffer.from("15030300020246", "hex"))));
    await started(server);

    expect(await post(urlOf(plain))).toEqual({
      kind: "undelivered",
      reason: "the shadow speaks TLS: its url should begin with https:",
      away: true,
    });
    // OpenSSL closes the connection without a TLS alert.
    expect(["undelivered", "closed"]).toContain((await post(urlOf(server))).kind);
  });

  it("names the setting: plain text instead of TLS", async () => {
    const wire = await WireServer.start(() => "HTTP/1.1 400 Bad Request\r\n\r\n");

    expect(await post(urlOf(wire, "https:"))).toEqual({
      kind: "undelivered",
      reason: "the shadow does not speak TLS: its url should begin with http:",
      away: true,
    });
  });

  it("names the setting: HTTP/2 instead of HTTP/1", async () => {
    const server = createHttp2Server();
    server.on("sessionError", () => {});
    await started(server);

    expect(await post(urlOf(server))).toEqual({
      kind: "undelivered",
      reason: "the shadow speaks HTTP/2 only: set its protocol to h2c, or to h2 if its url begins with https:",
      away: true,
    });
  });
});

async function post(url: URL, method = "POST"): Promise<Outcome> {
  const transport = new Transport(target({ url }));
  const outcome = await transport.send({ method, path: "/", headers: [], body: Buffer.from("order=1") });
  await transport.close();
  return outcome;
}

async function listen(serve: (socket: Socket) => void): Promise<Server> {
  return started(
    createServer((socket) => {
      socket.on("error", () => {});
      serve(socket);
    }),
  );
}

async function started<S extends Server>(server: S): Promise<S> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return server;
}

function urlOf(server: Server | WireServer, protocol = "http:"): URL {
  const url = server instanceof WireServer ? server.url : `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(new URL(url), { protocol });
}

function fixture(name: string): Buffer {
  return readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url));
}
