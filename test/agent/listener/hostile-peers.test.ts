import { afterEach, describe, expect, it } from "vitest";
import { Listener, type ListenerOptions } from "../../../agent/listener/listener.ts";
import { until } from "../../support/clocks/until.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { fragmentedNotify, frame, get, hello, notify, uint32 } from "../../support/spop/spop-frames.ts";
import { SpopPeer } from "../../support/spop/spop-peer.ts";

const MiB = 1024 * 1024;
const letterF = 0x46;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Served {
  readonly listener: Listener;
  readonly logged: LogLines;
  /** Bytes of each NOTIFY that was passed on. */
  readonly taken: number[];
  readonly port: number;
}

async function serve(changes: Partial<ListenerOptions> = {}): Promise<Served> {
  const logged = new LogLines();
  const taken: number[] = [];
  const listener = new Listener({
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    maxFrameBytes: MiB,
    onNotify: (_bytes, start, end) => taken.push(end - start),
    onOversize: () => {},
    log: logged.log,
    ...changes,
  });
  cleanups.push(() => listener.destroy());
  const address = await listener.listen();
  return { listener, logged, taken, port: Number(address.split(":").at(-1)) };
}

async function greeted({ port }: Served, maxFrameBytes = 16_380, localAddress?: string): Promise<SpopPeer> {
  const peer = new SpopPeer({ port, host: "127.0.0.1", ...(localAddress && { localAddress }) }).read();
  cleanups.push(() => peer.socket.destroy());
  await peer.send(hello({ "max-frame-size": uint32(maxFrameBytes) }));
  await peer.frames(1);
  return peer;
}

/** A peer that has sent all of a frame, or of a message in fragments, but its end. */
async function halfSent(served: Served, bytes: number, how: "frame" | "fragments"): Promise<SpopPeer> {
  const peer = await greeted(served, MiB);
  const payload = Buffer.alloc(bytes, 65);
  if (how === "fragments") await peer.send(frame({ type: 3, flags: 0, streamId: 1, frameId: 1, payload }));
  else await peer.send(frame({ type: 3, streamId: 1, frameId: 1, payload }).subarray(0, -1));
  return peer;
}

describe("what peers have half sent", () => {
  it.each(["frame", "fragments"] as const)(
    "is counted, and who holds most is closed with a DISCONNECT and one log line: a %s",
    async (how) => {
      const served = await serve({ maxHeldBytes: 2 * MiB });
      const haproxy = await greeted(served);
      const innocent = await greeted(served);
      const begun = notify({ messages: [get(`/${"x".repeat(10_000)}`)] });
      await innocent.send(begun.subarray(0, 5_000));
      const small = [await halfSent(served, 400_000, how), await halfSent(served, 500_000, how)];
      await until(() => served.listener.heldBytes > 900_000);
      const large = await halfSent(served, 900_000, how);
      const address = `127.0.0.1:${large.socket.localPort}`;
      await until(() => served.listener.heldBytes > 1_800_000);

      await halfSent(served, 600_000, how);
      await large.closed;

      expect((await large.frames(2)).at(-1)).toMatchObject({ type: "disconnect", items: { "status-code": 13n } });
      const reason = expect.stringContaining("agent.connectionBuffer");
      expect(served.logged.lines).toMatchObject([{ event: "evicted", peer: address, reason }]);
      expect(served.logged.lines[0].heldBytes).toBeGreaterThan(900_000);
      expect(served.listener.heldBytes).toBeLessThanOrEqual(2 * MiB);
      expect(small.map(({ socket }) => socket.closed)).toEqual([false, false]);
      await Promise.all([haproxy.send(notify()), innocent.send(begun.subarray(5_000))]);
      expect(await haproxy.frames(2)).toHaveLength(2);
      expect(await innocent.frames(2)).toHaveLength(2);
    },
  );

  it("is logged once a minute, however many peers are closed", async () => {
    const served = await serve({ maxHeldBytes: 2 * MiB });

    const peers: SpopPeer[] = [];
    for (let i = 0; i < 12; i++) peers.push(await halfSent(served, 900_000, i % 2 === 0 ? "frame" : "fragments"));
    await until(() => peers.filter(({ socket }) => socket.closed).length >= 10);

    expect(served.logged.events).toEqual(["evicted"]);
    expect(served.listener.refusals.get("evicted")).toBeGreaterThanOrEqual(10);
  });

  it("is no longer counted once it is complete, aborted, or its connection is closed", async () => {
    const served = await serve();
    const peer = await greeted(served, MiB);
    const pieces = fragmentedNotify({ messages: [get(`/${"x".repeat(300_000)}`)], pieceBytes: 50_000 });
    const gone = await halfSent(served, 300_000, "frame");
    await peer.send(
      ...pieces.slice(0, 3),
      frame({ type: 3, flags: 0, streamId: 5, frameId: 1, payload: Buffer.alloc(9) }),
    );
    await until(() => served.listener.heldBytes > 400_000);

    await peer.send(...pieces.slice(3), frame({ type: 0, flags: 3, streamId: 5, frameId: 1 }));
    gone.socket.destroy();
    await until(() => served.listener.heldBytes === 0);

    expect(served.taken).toEqual([expect.any(Number)]);
    expect(await peer.frames(2)).toHaveLength(2);
  });

  it("includes ACKs that a peer does not read", async () => {
    const served = await serve();
    const peer = await greeted(served);
    peer.socket.pause();
    const flood = Buffer.concat(Array.from({ length: 4_000 }, (_, i) => notify({ streamId: i, messages: [] })));

    const sending = setInterval(() => peer.socket.write(flood), 5);
    cleanups.push(() => clearInterval(sending));

    await until(() => served.listener.heldBytes > 100_000);
    expect(served.listener.heldBytes).toBeLessThan(4 * MiB);
  });
});

describe("a peer that only looks busy is closed", () => {
  const unknown = frame({ type: 50, streamId: 9, frameId: 9 });
  it.each<[string, Buffer, () => Buffer]>([
    ["frames of an unknown type", frame({ type: 3, flags: 0, streamId: 1, frameId: 1 }), () => unknown],
    [
      "empty fragments that never end",
      frame({ type: 3, flags: 0, streamId: 1, frameId: 1 }),
      () => frame({ type: 0, flags: 0, streamId: 1, frameId: 1 }),
    ],
    [
      "whole messages beside one that never ends",
      frame({ type: 3, flags: 0, streamId: 1, frameId: 1 }),
      () => notify({ streamId: 3 }),
    ],
    [
      "a frame that comes byte by byte",
      notify({ messages: [get(`/${"x".repeat(9_000)}`)] }).subarray(0, 20),
      () => Buffer.of(65),
    ],
  ])("%s", async (_, first, more) => {
    const served = await serve({ stallMs: 150 });
    const idle = await greeted(served);
    const peer = await greeted(served);
    await peer.send(first);
    const sending = setInterval(() => peer.socket.write(more()), 10);
    cleanups.push(() => clearInterval(sending));

    await peer.closed;

    expect(served.logged.lines).toMatchObject([
      { event: "stalled", reason: "the peer stopped in the middle of a frame" },
    ]);
    expect(idle.socket.closed).toBe(false);
  });
});

describe("a connection without messages", () => {
  it("is closed after a while, with a DISCONNECT, whatever else it sends; one with messages is not", async () => {
    const served = await serve({ stallMs: 50, idleMs: 400 });
    const [quiet, busy, haproxy] = [await greeted(served), await greeted(served), await greeted(served)];
    const sending = setInterval(() => {
      busy.socket.write(frame({ type: 50, streamId: 1, frameId: 1 }));
      haproxy.socket.write(notify());
    }, 20);
    cleanups.push(() => clearInterval(sending));

    await Promise.all([quiet.closed, busy.closed]);

    const [, goodbye] = await quiet.frames(2);
    expect(goodbye).toMatchObject({
      type: "disconnect",
      items: { "status-code": 0n, message: "no message for 0.4 s" },
    });
    expect(haproxy.socket.closed).toBe(false);
    expect(served.logged.lines).toEqual([]);
  });
});

describe("more connections than the agent can have", () => {
  it("take the place of those without traffic, and are logged once", async () => {
    const served = await serve({ maxConnections: 20 });
    const haproxy = await greeted(served);
    await haproxy.send(notify());
    await haproxy.frames(2);

    const crowd = await Promise.all(Array.from({ length: 60 }, () => greeted(served)));
    const late = await greeted(served);
    await Promise.all([haproxy.send(notify({ streamId: 3 })), late.send(notify())]);

    expect(await haproxy.frames(3)).toHaveLength(3);
    expect(await late.frames(2)).toHaveLength(2);
    await until(() => served.listener.connections <= 20);
    expect(crowd.filter(({ socket }) => socket.closed).length).toBeGreaterThan(40);
    expect(served.logged.lines).toMatchObject([{ event: "crowded" }]);
    expect(served.listener.refusals.get("crowded")).toBe(42);
  });
});

describe("large frames", () => {
  it("are acknowledged at once, passed on in turns, and none is lost if their connections are closed meanwhile", async () => {
    const seen: number[] = [];
    const served = await serve({
      onNotify: (_bytes, start, end) => {
        seen.push(end - start);
        const endMs = performance.now() + 3;
        while (end - start > 10_000 && performance.now() < endMs);
      },
    });
    const peers = await Promise.all(Array.from({ length: 20 }, () => greeted(served, MiB)));
    const large = frame({ type: 3, streamId: 1, frameId: 1, payload: Buffer.alloc(50_000) });

    await Promise.all(peers.map((peer) => peer.send(large)));
    await Promise.all(peers.map((peer) => peer.frames(2)));
    for (const { socket } of peers) socket.destroy();
    await until(() => served.listener.connections === 0);
    await served.listener.disconnect();

    expect(seen).toEqual(peers.map(() => 50_000));
    expect(served.listener.heldBytes).toBe(0);
  });

  it("of many peers do not delay the ACKs of HAProxy, and its messages are soon passed on", async () => {
    const served = await serve({
      onNotify: (bytes, start, end) => {
        served.taken.push(end - start);
        const endMs = performance.now() + 5;
        while (bytes[start] === letterF && performance.now() < endMs);
      },
    });
    const flood = Buffer.alloc(50_000, letterF);
    const peers = await Promise.all(Array.from({ length: 40 }, () => greeted(served, MiB, "127.0.0.2")));
    const haproxy = await greeted(served, MiB);

    await Promise.all(peers.map((peer) => peer.send(frame({ type: 3, streamId: 1, frameId: 1, payload: flood }))));
    await Promise.all(peers.map((peer) => peer.frames(2)));
    for (let i = 0; i < 8; i++) {
      await haproxy.send(frame({ type: 3, streamId: i, frameId: 1, payload: Buffer.alloc(12_000) }));
      await haproxy.frames(i + 2);
    }
    const acknowledged = served.taken.length;
    await until(() => served.taken.filter((bytes) => bytes === 12_000).length === 8);
    const passedOn = served.taken.length;
    await until(() => served.taken.length === peers.length + 8);

    // Of 40 messages that take 200 ms in all. While HAProxy's ACKs waited for them, there were none left.
    expect(acknowledged).toBeLessThan(40);
    expect(passedOn).toBeLessThan(48);
  });

  it("of a peer that sends faster than they are passed on are read up to a limit", async () => {
    const served = await serve({
      onNotify: (_bytes, start, end) => {
        served.taken.push(end - start);
        const endMs = performance.now() + 2;
        while (performance.now() < endMs);
      },
    });
    const peer = await greeted(served, MiB);
    const sizes = Array.from({ length: 200 }, (_, i) => 10_000 + i);
    let mostHeldBytes = 0;

    const sent = peer.send(
      ...sizes.map((bytes, i) => frame({ type: 3, streamId: i, frameId: 1, payload: Buffer.alloc(bytes) })),
    );
    await until(() => {
      mostHeldBytes = Math.max(mostHeldBytes, served.listener.heldBytes);
      return served.taken.length === sizes.length;
    });
    await sent;

    expect(mostHeldBytes).toBeGreaterThan(100_000);
    expect(mostHeldBytes).toBeLessThan(450_000);
    expect(served.taken).toEqual(sizes);
    expect((await peer.frames(201)).slice(1).map(({ streamId }) => Number(streamId))).toEqual(sizes.map((_, i) => i));
    expect(served.listener.heldBytes).toBe(0);
  });

  it("are all passed on before a stop ends, if they have been acknowledged", async () => {
    const served = await serve({
      onNotify: (_bytes, start, end) => {
        served.taken.push(end - start);
        const endMs = performance.now() + 2;
        while (performance.now() < endMs);
      },
    });
    const peers = await Promise.all(Array.from({ length: 5 }, () => greeted(served, MiB)));
    const frames = Array.from({ length: 20 }, (_, i) =>
      frame({ type: 3, streamId: i, frameId: 1, payload: Buffer.alloc(9_000) }),
    );

    await Promise.all(peers.map((peer) => peer.send(...frames)));
    await Promise.all(peers.map((peer) => peer.frames(21)));
    expect(served.taken.length).toBeLessThan(100);
    await served.listener.disconnect();

    expect(served.taken).toHaveLength(100);
  });

  it("keep the order of a connection", async () => {
    const served = await serve();
    const peer = await greeted(served, MiB);
    const sizes = Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? 40_000 + i : 10 + i));

    await peer.send(
      ...sizes.map((bytes, i) => frame({ type: 3, streamId: i, frameId: 1, payload: Buffer.alloc(bytes) })),
    );

    const frames = await peer.frames(61);
    expect(frames.slice(1).map(({ streamId }) => Number(streamId))).toEqual(sizes.map((_, i) => i));
    await until(() => served.taken.length === 60);
    expect(served.taken).toEqual(sizes);
  });
});
