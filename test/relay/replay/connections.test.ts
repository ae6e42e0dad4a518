import dns from "node:dns";
import { once } from "node:events";
import { createServer as createHttpServer, type Server } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { TargetConfig } from "../../../relay/config/config.ts";
import type { Outcome } from "../../../relay/replay/outcome.ts";
import { Transport } from "../../../relay/replay/transport.ts";
import { until } from "../../support/clocks/until.ts";
import { target } from "../../support/data/targets.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

describe("Transport: kept connections", () => {
  it.each([
    ["closes after each third answer", 3, (socket: Socket) => socket.end()],
    ["resets after each third answer", 3, (socket: Socket) => socket.resetAndDestroy()],
    ["closes after each answer", 1, (socket: Socket) => socket.end()],
  ])("carry each POST exactly once to a shadow that %s without saying so", async (_, answers, end) => {
    const shadow = await CountingShadow.start((socket, answered) => {
      socket.write(ok, () => {
        if (answered % answers === 0) end(socket);
      });
    });
    const transport = transportTo(shadow.url, { concurrency: 4 });
    const outcomes: Outcome[] = [];
    for (let sent = 0; sent < 400; sent += 4) {
      outcomes.push(...(await Promise.all(Array.from({ length: 4 }, (_, i) => post(transport, sent + i)))));
    }

    expect([...shadow.arrivals.values()].every((count) => count === 1)).toBe(true);
    expect(shadow.arrivals.size).toBe(400);
    expect(kindsOf(outcomes)).toEqual({ answered: 400 });
  });

  it("carry each POST at most once, and nothing is lost unnoticed, if the shadow closes at any moment", async () => {
    let closes = 0;
    const shadow = await CountingShadow.start((socket) => {
      // The request has arrived, but is not answered.
      if (shadow.arrivals.size % 11 === 0 && ++closes) socket.destroy();
      else socket.write(ok);
    });
    const transport = transportTo(shadow.url, { concurrency: 8 });
    const outcomes: Outcome[] = [];
    for (let sent = 0; sent < 400; sent += 8) {
      outcomes.push(...(await Promise.all(Array.from({ length: 8 }, (_, i) => post(transport, sent + i)))));
    }

    const kinds = kindsOf(outcomes);
    expect(closes).toBeGreaterThan(10);
    expect([...shadow.arrivals.values()].every((count) => count === 1)).toBe(true);
    expect((kinds.answered ?? 0) + (kinds.closed ?? 0) + (kinds.undelivered ?? 0)).toBe(400);
    // Only requests that were not written may be tried again.
    outcomes.forEach((outcome, i) => {
      if (outcome.kind === "undelivered") expect(shadow.arrivals.has(String(i))).toBe(false);
    });
  });

  it("are used again and again by a well-behaved shadow", async () => {
    const shadow = await ShadowServer.start();
    const transport = transportTo(shadow.url, { concurrency: 4 });
    for (let i = 0; i < 100; i++) await post(transport, i);

    expect(shadow.connections).toBeLessThanOrEqual(4);
  });

  it("are closed after a HEAD, whose answer may wrongly have a body: it is not mistaken for the next answer", async () => {
    const shadow = await CountingShadow.start((socket, _, request) => {
      const body = request.startsWith("HEAD") ? "HTTP/1.1 500 Mistaken\r\n\r\n" : "";
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n");
      setImmediate(() => socket.write(body || "x".repeat(25)));
    });
    const transport = transportTo(shadow.url, { concurrency: 1 });
    const outcomes: Outcome[] = [];
    for (let i = 0; i < 20; i++) outcomes.push(await send(transport, i % 2 ? "GET" : "HEAD", i));

    expect(outcomes.every((outcome) => outcome.kind === "answered" && outcome.status === 200)).toBe(true);
  });

  it.each([
    [
      "behind an answer",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 Mistaken\r\nContent-Length: 0\r\n\r\n",
    ],
    ["behind a 204", "HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\nMistaken"],
    ["that are no answer", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\ngarbage"],
  ])("with extra bytes %s are closed, and the next request has its own answer", async (_, answer) => {
    const shadow = await CountingShadow.start((socket) => socket.write(answer));
    const transport = transportTo(shadow.url, { concurrency: 1 });
    const outcomes: Outcome[] = [];
    for (let i = 0; i < 20; i++) outcomes.push(await post(transport, i));

    expect(outcomes.every((outcome) => outcome.kind === "answered" && outcome.status < 300)).toBe(true);
    expect([...shadow.arrivals.values()]).toEqual(Array(20).fill(1));
  });

  it("that are answered before the request was written whole count by that answer", async () => {
    const shadow = await CountingShadow.start(
      () => {},
      (socket) => {
        socket.end("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n");
      },
    );
    const outcome = await send(transportTo(shadow.url), "POST", 0, Buffer.alloc(100_000));

    expect(outcome).toMatchObject({ kind: "answered", status: 413 });
  });
});

describe("Transport: requests that wait for a connection", () => {
  it("get another one at once if the shadow is silent on theirs", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const arrived = Promise.withResolvers<void>();
    const shadow = await CountingShadow.start((socket) => {
      if (shadow.arrivals.size > 1) socket.write(ok);
      else arrived.resolve();
    });
    const transport = transportTo(shadow.url, { concurrency: 1, timeoutMs: 10_000 });
    const silent = post(transport, 0);
    await arrived.promise;
    vi.advanceTimersByTime(6_000);
    const waiting = post(transport, 1);
    vi.advanceTimersByTime(4_000);

    expect(await silent).toMatchObject({ kind: "timedOut" });
    expect(await waiting).toMatchObject({ kind: "answered" });
  });
});

describe("Transport: the age of connections", () => {
  it("is at most 30 s: then the name is looked up again, and the new address is used", async () => {
    const [old, current] = [await addressed("127.0.0.2"), await addressed("127.0.0.3")];
    const port = await listenOnBoth(old, current);
    let address = "127.0.0.2";
    const lookUp = vi
      .spyOn(dns, "lookup")
      .mockImplementation(((_name: string, _options: object, callback: unknown) =>
        (callback as (error: null, found: object[]) => void)(null, [{ address, family: 4 }])) as never);
    onTestFinished(() => lookUp.mockRestore());
    let nowMs = 0;
    const transport = transportAt(new URL(`http://shadow.test:${port}`), () => nowMs);
    // Never idle for longer than the keep-alive time.
    for (; nowMs < 45_000; nowMs += 200) {
      if (nowMs === 10_000) address = "127.0.0.3";
      await send(transport, nowMs % 400 ? "GET" : "POST", nowMs);
    }

    expect(old.lastMs).toBeGreaterThan(10_000);
    expect(old.lastMs).toBeLessThan(40_000);
    expect(old.count + current.count).toBe(225);
  });

  it("differs: connections that were opened together are not renewed together", async () => {
    const shadow = await CountingShadow.start((socket) => socket.write(ok));
    let nowMs = 0;
    let opened = 0;
    const random = () => (opened++ % 40) / 40;
    const transport = transportAt(shadow.url, () => nowMs, random, { concurrency: 40 });
    const renewals: number[] = [];
    for (; nowMs < 32_000; nowMs += 1_000) {
      const before = opened;
      await Promise.all(Array.from({ length: 40 }, (_, i) => send(transport, "GET", nowMs + i)));
      renewals.push(opened - before);
    }

    expect(renewals[0]).toBe(40);
    expect(Math.max(...renewals.slice(1))).toBeLessThanOrEqual(5);
    expect(renewals.slice(1).reduce((sum, each) => sum + each, 0)).toBe(40);
  });

  it("cuts no request: one that is in flight when its connection grows old gets its answer", async () => {
    const gate = Promise.withResolvers<void>();
    const shadow = await CountingShadow.start(async (socket, _, request) => {
      if (request.includes("x-id: 1\r\n")) await gate.promise;
      socket.write(ok);
    });
    let nowMs = 0;
    const transport = transportAt(shadow.url, () => nowMs, Math.random, { concurrency: 2 });
    const slow = post(transport, 1);
    await until(() => shadow.arrivals.has("1"));
    nowMs += 60_000;
    const next = await post(transport, 2);
    gate.resolve();

    expect([next.kind, (await slow).kind]).toEqual(["answered", "answered"]);
  });
});

/** A server that counts by `x-id` how often each request arrived whole. */
class CountingShadow {
  readonly arrivals = new Map<string, number>();
  url = new URL("http://127.0.0.1");
  answered = 0;

  /** @param answer called for each whole request with the number of requests so far on its connection */
  static async start(
    answer: (socket: Socket, onConnection: number, request: string) => void,
    onHead: (socket: Socket) => void = () => {},
  ): Promise<CountingShadow> {
    const shadow = new CountingShadow();
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      let bytes = "";
      let onConnection = 0;
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        bytes += chunk.toString("latin1");
        for (;;) {
          const end = bytes.indexOf("\r\n\r\n");
          if (end < 0) return;
          const length = Number(/content-length: (\d+)/i.exec(bytes.slice(0, end))?.[1] ?? 0);
          onHead(socket);
          if (bytes.length < end + 4 + length) return;
          const request = bytes.slice(0, end);
          bytes = bytes.slice(end + 4 + length);
          const id = /x-id: (\d+)/i.exec(request)?.[1] ?? "";
          shadow.arrivals.set(id, (shadow.arrivals.get(id) ?? 0) + 1);
          answer(socket, ++onConnection, request);
        }
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    shadow.url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    onTestFinished(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return shadow;
  }
}

function transportTo(url: URL, changes: Partial<TargetConfig> = {}): Transport {
  const transport = new Transport(target({ url, timeoutMs: 60_000, ...changes }));
  onTestFinished(() => transport.close());
  return transport;
}

function transportAt(
  url: URL,
  now: () => number,
  random: () => number = Math.random,
  changes: Partial<TargetConfig> = {},
): Transport {
  const transport = new Transport(target({ url, ...changes }), now, random);
  onTestFinished(() => transport.close());
  return transport;
}

interface Addressed {
  count: number;
  /** The `x-id` of its last request. */
  lastMs: number;
  readonly server: Server;
  readonly address: string;
}

async function addressed(address: string): Promise<Addressed> {
  const shadow: Addressed = {
    count: 0,
    lastMs: 0,
    address,
    server: createHttpServer((request, response) => {
      shadow.count++;
      shadow.lastMs = Number(request.headers["x-id"]);
      request.resume();
      response.end();
    }),
  };
  onTestFinished(() => void shadow.server.closeAllConnections?.());
  onTestFinished(() => void shadow.server.close());
  return shadow;
}

/** The port on which the two servers listen, each at its address. */
async function listenOnBoth(one: Addressed, other: Addressed): Promise<number> {
  one.server.listen(0, one.address);
  await once(one.server, "listening");
  const { port } = one.server.address() as AddressInfo;
  other.server.listen(port, other.address);
  await once(other.server, "listening");
  return port;
}

function post(transport: Transport, id: number): Promise<Outcome> {
  return send(transport, "POST", id, Buffer.from("order"));
}

function send(transport: Transport, method: string, id: number, body = Buffer.alloc(0)): Promise<Outcome> {
  return transport.send({ method, path: "/", headers: ["x-id", String(id)], body });
}

function kindsOf(outcomes: readonly Outcome[]): Record<string, number> {
  const kinds: Record<string, number> = {};
  for (const { kind } of outcomes) kinds[kind] = (kinds[kind] ?? 0) + 1;
  return kinds;
}
