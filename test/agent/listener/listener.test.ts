import { once } from "node:events";
import { linkSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { Listener, type ListenerOptions } from "../../../agent/listener/listener.ts";
import { visitMessages } from "../../../agent/spop/notify.ts";
import type { ListenAddress } from "../../../relay/config/forms.ts";
import { createLogger } from "../../../relay/log/log.ts";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";
import { until } from "../../support/clocks/until.ts";
import {
  type AgentFrame,
  bin,
  bool,
  fragmentedNotify,
  get,
  haproxyDisconnect,
  hello,
  messageList,
  notify,
  readAgentFrames,
  str,
  uint32,
} from "../../support/spop/spop-frames.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface TestListener {
  readonly listener: Listener;
  /** As returned by `listen`. */
  readonly address: string;
  /** The payload of each NOTIFY, in hex. */
  readonly payloads: string[];
  readonly logged: Record<string, unknown>[];
  readonly oversize: number[];
}

async function startListener(
  address: ListenAddress = { kind: "tcp", host: "127.0.0.1", port: 0 },
  changes: Partial<ListenerOptions> = {},
): Promise<TestListener> {
  const payloads: string[] = [];
  const logged: Record<string, unknown>[] = [];
  const oversize: number[] = [];
  const listener = new Listener({
    address,
    maxFrameBytes: 1024 * 1024,
    onNotify: (bytes, start, end) => {
      payloads.push(Buffer.from(bytes.subarray(start, end)).toString("hex"));
      const visitor = { beginMessage: () => {}, argument: () => {}, endMessage: () => {} };
      visitMessages(new ByteReader(bytes, start, end), { type: 0, start: 0, end: 0, number: 0 }, visitor);
    },
    onOversize: (count) => oversize.push(count),
    log: createLogger("debug", { write: (line) => logged.push(JSON.parse(line)) }),
    ...changes,
  });
  cleanups.push(() => listener.destroy());
  return { listener, address: await listener.listen(), payloads, logged, oversize };
}

/** A client that plays HAProxy. */
class Peer {
  readonly socket: Socket;
  readonly ended: Promise<unknown>;
  #received = Buffer.alloc(0);
  #wake = () => {};

  constructor(address: string) {
    this.socket = address.startsWith("unix:")
      ? connect({ path: address.slice(5) })
      : connect(Number(address.split(":").at(-1)), "127.0.0.1");
    cleanups.push(() => this.socket.destroy());
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    this.socket.on("error", () => {});
    this.ended = new Promise((resolve) => this.socket.once("close", resolve));
    this.socket.on("close", () => this.#wake());
  }

  send(...frames: Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** All frames that the agent has sent, once there are at least `count` or the connection is closed. */
  async frames(count: number): Promise<AgentFrame[]> {
    for (;;) {
      const frames = this.#whole();
      if (frames.length >= count || this.socket.closed) return frames;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #whole(): AgentFrame[] {
    let end = 0;
    while (end + 4 <= this.#received.length && end + 4 + this.#received.readUInt32BE(end) <= this.#received.length) {
      end += 4 + this.#received.readUInt32BE(end);
    }
    return readAgentFrames(this.#received.subarray(0, end));
  }
}

async function greetedPeer(address: string): Promise<Peer> {
  const peer = new Peer(address);
  peer.send(hello());
  await peer.frames(1);
  return peer;
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-listener-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  return directory;
}

const typesOf = (frames: readonly AgentFrame[]) => frames.map(({ type }) => type);
const rootPayload = messageList([get("/")]).toString("hex");

describe.each(["tcp", "unix"] as const)("a listener on %s", (kind) => {
  const start = (changes: Partial<ListenerOptions> = {}) =>
    startListener(
      kind === "tcp" ? { kind, host: "127.0.0.1", port: 0 } : { kind, path: join(temporaryDirectory(), "agent.sock") },
      changes,
    );

  it("answers a HELLO, acknowledges NOTIFYs and passes them on", async () => {
    const { address, payloads } = await start();
    const peer = new Peer(address);

    peer.send(hello(), notify({ streamId: 5 }), ...fragmentedNotify({ streamId: 6, pieceBytes: 10 }));

    expect(await peer.frames(3)).toMatchObject([
      { type: "hello" },
      { type: "ack", streamId: 5n },
      { type: "ack", streamId: 6n },
    ]);
    expect(payloads).toEqual([rootPayload, rootPayload]);
  });

  it("answers a health check and closes the connection", async () => {
    const { address, logged } = await start();
    const peer = new Peer(address);

    peer.send(hello({ healthcheck: bool(true) }));
    await peer.ended;

    expect(typesOf(await peer.frames(1))).toEqual(["hello"]);
    expect(logged.filter(({ level }) => level === "warn")).toEqual([]);
  });

  it("answers a DISCONNECT and closes the connection", async () => {
    const { address } = await start();
    const peer = await greetedPeer(address);

    peer.send(notify(), haproxyDisconnect(0, "normal"));
    await peer.ended;

    expect(await peer.frames(3)).toMatchObject([{}, { type: "ack" }, { items: { "status-code": 0n } }]);
  });

  it("treats a reset and an end without DISCONNECT as normal, and forgets the connection", async () => {
    const { address, listener, logged } = await start();
    const [reset, ended] = [await greetedPeer(address), await greetedPeer(address)];

    if (kind === "tcp") reset.socket.resetAndDestroy();
    else reset.socket.destroy();
    ended.socket.end();
    await Promise.all([reset.ended, ended.ended]);
    const other = await greetedPeer(address);

    expect(logged.filter(({ level }) => level !== "debug")).toEqual([]);
    expect(listener.accepted).toBe(3);
    other.send(notify());
    expect(typesOf(await other.frames(2))).toEqual(["hello", "ack"]);
    await until(() => listener.connections === 1);
  });

  it.each<[string, Buffer, bigint]>([
    ["a TLS ClientHello", Buffer.from("160301020001000137030300", "hex"), 4n],
    ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), 4n],
    ["a frame that is too long", Buffer.concat([hello(), Buffer.from("7fffffff03", "hex")]), 3n],
    ["an endless identifier", Buffer.concat([hello(), Buffer.from(`0000001103${"ff".repeat(16)}`, "hex")]), 4n],
    ["a wrong argument count", Buffer.concat([hello(), notify({ messages: [{ ...get("/"), argumentCount: 9 }] })]), 4n],
  ])("ends only the connection that sends %s, with a DISCONNECT and one log line", async (_, bytes, status) => {
    const { address, logged, listener } = await start();
    const good = await greetedPeer(address);
    const hostile = new Peer(address);

    good.send(notify({ streamId: 1 }));
    hostile.send(bytes);
    await hostile.ended;
    good.send(notify({ streamId: 3 }));

    const last = (await hostile.frames(1)).at(-1);
    expect(last).toMatchObject({ type: "disconnect", items: { "status-code": status } });
    expect((await good.frames(3)).map(({ streamId }) => streamId)).toEqual([0n, 1n, 3n]);
    expect(logged.filter(({ level }) => level === "warn")).toMatchObject([
      { event: "session-end", kind: "refused", status: Number(status), reason: last?.items.message },
    ]);
    await until(() => listener.connections === 1);
  });
});

describe("a chunk", () => {
  it("with a malformed NOTIFY has the NOTIFYs before and after it acknowledged and delivered", async () => {
    const { address, payloads } = await startListener();
    const peer = await greetedPeer(address);

    peer.send(
      notify({ streamId: 1 }),
      notify({ streamId: 3, messages: [{ ...get("/lie"), argumentCount: 9 }] }),
      notify({ streamId: 5 }),
    );
    await peer.ended;

    expect(typesOf(await peer.frames(5))).toEqual(["hello", "ack", "ack", "ack", "disconnect"]);
    expect(payloads.filter((payload) => payload === rootPayload)).toHaveLength(2);
  });

  it("with a message above the size limit is acknowledged, and the message is counted once", async () => {
    const { address, oversize, payloads } = await startListener();
    const size = 1024 * 1024;
    const peer = new Peer(address);
    const large = [{ args: [["body", bin(Buffer.alloc(17 * size))]] as const }];

    peer.send(hello({ "max-frame-size": uint32(size) }));
    peer.send(...fragmentedNotify({ messages: large, pieceBytes: size - 100 }), notify({ streamId: 9 }));

    expect(typesOf(await peer.frames(3))).toEqual(["hello", "ack", "ack"]);
    expect(oversize).toEqual([1]);
    expect(payloads).toEqual([rootPayload]);
  });
});

describe("many connections", () => {
  it("are served at the same time, each with its own frame size", async () => {
    const { address, payloads, listener } = await startListener();
    const peers = Array.from({ length: 50 }, () => new Peer(address));

    for (const [i, peer] of peers.entries()) {
      peer.send(hello({ "max-frame-size": uint32(256 + i) }));
      for (let k = 0; k < 20; k++) peer.send(notify({ streamId: k, messages: [get(`/${i}/${k}`)] }));
    }
    const all = await Promise.all(peers.map((peer) => peer.frames(21)));

    for (const [i, frames] of all.entries()) {
      expect(frames[0].items["max-frame-size"]).toBe(BigInt(256 + i));
      expect(frames.slice(1).map(({ streamId }) => Number(streamId))).toEqual(Array.from({ length: 20 }, (_, k) => k));
    }
    expect(new Set(payloads).size).toBe(1_000);
    expect(listener.connections).toBe(50);
  });
});

describe("a stopping listener", () => {
  it("fails health checks first, while old and new connections work", async () => {
    const { address, listener } = await startListener();
    const old = await greetedPeer(address);

    listener.failHealthChecks();
    const check = new Peer(address);
    check.send(hello({ healthcheck: bool(true) }));
    await check.ended;
    const late = await greetedPeer(address);
    for (const peer of [old, late]) peer.send(notify());

    expect(await check.frames(1)).toEqual([]);
    expect(typesOf(await old.frames(2))).toEqual(["hello", "ack"]);
    expect(typesOf(await late.frames(2))).toEqual(["hello", "ack"]);
  });

  it("then stops accepting, while open connections work", async () => {
    const { address, listener } = await startListener();
    const peer = await greetedPeer(address);

    listener.stopAccepting();
    const late = new Peer(address);
    await late.ended;
    peer.send(notify());

    expect(typesOf(await peer.frames(2))).toEqual(["hello", "ack"]);
    expect(await late.frames(1)).toEqual([]);
    expect(listener.accepted).toBe(1);
  });

  it("sends DISCONNECT after the last ACK, and delivers a NOTIFY that crosses it", async () => {
    const { address, listener, payloads } = await startListener();
    const peer = await greetedPeer(address);
    peer.send(notify({ streamId: 1 }));
    await peer.frames(2);

    const left = listener.disconnect();
    peer.send(notify({ streamId: 3, messages: [get("/crossed")] }));
    const frames = await peer.frames(3);
    peer.socket.end();
    await left;

    expect(frames).toMatchObject([
      {},
      { type: "ack", streamId: 1n },
      { type: "disconnect", items: { "status-code": 0n } },
    ]);
    expect(await peer.frames(99)).toHaveLength(3);
    expect(payloads).toEqual([rootPayload, messageList([get("/crossed")]).toString("hex")]);
    expect(listener.connections).toBe(0);
  });

  it("waits for a frame that is half received", async () => {
    const { address, listener } = await startListener();
    const peer = await greetedPeer(address);
    const frame = notify({ streamId: 1, messages: [get(`/${"x".repeat(1_000)}`)] });
    peer.send(notify({ streamId: 9 }), frame.subarray(0, 500));
    await peer.frames(2);

    const left = listener.disconnect();
    peer.send(frame.subarray(500));
    const frames = await peer.frames(4);
    peer.socket.end();
    await left;

    expect(frames.map(({ type, streamId }) => [type, streamId])).toEqual([
      ["hello", 0n],
      ["ack", 9n],
      ["ack", 1n],
      ["disconnect", 0n],
    ]);
  });

  it("disconnects at once if no peer is connected", async () => {
    const { listener } = await startListener();

    await expect(listener.disconnect()).resolves.toBeUndefined();
  });
});

describe("an address that cannot be used", () => {
  it("is named with what to do: a port in use", async () => {
    const { address } = await startListener();
    const port = Number(address.split(":").at(-1));

    await expect(startListener({ kind: "tcp", host: "127.0.0.1", port })).rejects.toThrow(
      `agent.listen: cannot listen on 127.0.0.1:${port}: another process listens there; stop it, or choose another`,
    );
  });

  it("is named with what to do: a socket without a directory", async () => {
    const path = join(temporaryDirectory(), "nowhere", "agent.sock");

    await expect(startListener({ kind: "unix", path })).rejects.toThrow(
      new RegExp(`^agent\\.listen: cannot listen on unix:${path}: .*directory`),
    );
  });

  it("is a unix socket on which a process listens", async () => {
    const path = join(temporaryDirectory(), "agent.sock");
    await startListener({ kind: "unix", path });

    await expect(startListener({ kind: "unix", path })).rejects.toThrow(`another process listens on unix:${path}`);
  });

  it("is a file that is not a socket, which is left alone", async () => {
    const path = join(temporaryDirectory(), "agent.sock");
    writeFileSync(path, "precious");

    await expect(startListener({ kind: "unix", path })).rejects.toThrow(
      "a file that is not a socket is in its place; remove it",
    );
  });
});

describe("a stale unix socket", () => {
  it("does not keep the agent from starting", async () => {
    const path = join(temporaryDirectory(), "agent.sock");
    await leaveStaleSocket(path);

    const { address } = await startListener({ kind: "unix", path });
    const peer = new Peer(address);
    peer.send(hello({ capabilities: str("") }));

    expect(typesOf(await peer.frames(1))).toEqual(["hello"]);
  });
});

/** Leaves what a killed process leaves: a socket file on which no process listens. */
async function leaveStaleSocket(path: string): Promise<void> {
  const server = createServer().listen(`${path}.live`);
  await once(server, "listening");
  linkSync(`${path}.live`, path);
  await new Promise((resolve) => server.close(resolve));
}
