import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { Listener, type ListenerOptions } from "../../agent/listener/listener.ts";
import { until } from "../support/clocks/until.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { openFiles, residentMiB } from "../support/processes/open-files.ts";
import { get, haproxyDisconnect, hello, notify } from "../support/spop/spop-frames.ts";
import { SpopPeer } from "../support/spop/spop-peer.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Served {
  readonly listener: Listener;
  readonly logged: LogLines;
  readonly notifies: () => number;
  readonly connect: (halfOpen?: boolean) => SpopPeer;
}

async function serve(changes: Partial<ListenerOptions> = {}): Promise<Served> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-slow-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "agent.sock");
  const logged = new LogLines();
  let notifies = 0;
  const listener = new Listener({
    // A unix socket has small kernel buffers, so that a backlog appears soon.
    address: { kind: "unix", path },
    maxFrameBytes: 1024 * 1024,
    onNotify: () => {
      notifies++;
    },
    onOversize: () => {},
    log: logged.log,
    ...changes,
  });
  cleanups.push(() => listener.destroy());
  await listener.listen();
  const connect = (halfOpen = false): SpopPeer => {
    const peer = new SpopPeer({ path, allowHalfOpen: halfOpen });
    cleanups.push(() => peer.socket.destroy());
    return peer;
  };
  return { listener, logged, notifies: () => notifies, connect };
}

async function greeted({ connect }: Served): Promise<SpopPeer> {
  const peer = connect().read();
  await peer.send(hello());
  await peer.frames(1);
  return peer;
}

// Without a working limit such peers stay connected for 30 s or forever. A slow machine needs a second or two to end them.
const patientMs = 15_000;

const elapsedSince = (startedAtMs: number) => performance.now() - startedAtMs;

it("the listener ends silent peers after the HELLO deadline, with one log line", async () => {
  const served = await serve({ helloDeadlineMs: 300 });
  const filesBefore = openFiles();
  const startedAtMs = performance.now();

  const peers = Array.from({ length: 300 }, () => served.connect().read());
  await Promise.all(peers.map(({ closed }) => closed));

  expect(elapsedSince(startedAtMs)).toBeGreaterThan(299);
  expect(served.logged.lines).toMatchObject([{ event: "no-hello", reason: "no HAPROXY-HELLO within 0.3 s" }]);
  await until(() => served.listener.connections === 0 && openFiles() <= filesBefore);
});

it("the listener ends a peer whose HELLO arrives too slowly", async () => {
  const served = await serve({ helloDeadlineMs: 300 });
  const peer = served.connect().read();
  const bytes = hello();
  let sent = 0;
  const drip = setInterval(() => peer.socket.write(bytes.subarray(sent, ++sent)), 10);

  await peer.closed;
  clearInterval(drip);

  expect(sent).toBeLessThan(bytes.length);
  expect(served.logged.events).toEqual(["no-hello"]);
});

it("the listener serves a peer that sends one byte at a time", async () => {
  const served = await serve();
  const peer = served.connect().read();

  for (const byte of Buffer.concat([hello(), notify({ streamId: 7 }), notify({ streamId: 9 })])) {
    await peer.send(Buffer.of(byte));
  }

  expect((await peer.frames(3)).map(({ streamId }) => streamId)).toEqual([0n, 7n, 9n]);
  expect(served.notifies()).toBe(2);
});

it("the listener ends a peer that stops in the middle of a frame, but not an idle one", async () => {
  const served = await serve({ stallMs: 200 });
  const [idle, stalled, dripping] = [await greeted(served), await greeted(served), await greeted(served)];
  const frame = notify({ messages: [get(`/${"x".repeat(10_000)}`)] });
  const startedAtMs = performance.now();
  let sent = 0;

  await stalled.send(frame.subarray(0, 5_000));
  const drip = setInterval(() => dripping.socket.write(frame.subarray(sent, ++sent)), 10);
  await Promise.all([stalled.closed, dripping.closed]);
  clearInterval(drip);
  await idle.send(notify());

  expect(elapsedSince(startedAtMs)).toBeLessThan(patientMs);
  expect(await idle.frames(2)).toHaveLength(2);
  expect(served.listener.connections).toBe(1);
  expect(served.logged.lines).toMatchObject([
    { event: "stalled", reason: "the peer stopped in the middle of a frame" },
  ]);
});

it("the listener ends a peer that no longer reads its ACKs, even if it sends nothing more", async () => {
  const served = await serve({ stallMs: 200 });
  const filesBefore = openFiles();
  const peer = served.connect();
  const startedAtMs = performance.now();

  await peer.send(hello(), ...Array.from({ length: 40_000 }, (_, i) => notify({ streamId: i, messages: [] })));
  await until(() => served.listener.connections === 0);

  expect(elapsedSince(startedAtMs)).toBeLessThan(patientMs);
  expect(served.logged.lines).toMatchObject([{ event: "stalled", reason: "the peer does not read its ACKs" }]);
  peer.socket.destroy();
  await until(() => openFiles() <= filesBefore);
});

it("the listener buffers little for peers that flood it and never read an ACK", { timeout: 60_000 }, async () => {
  const served = await serve();
  const before = residentMiB();
  const flood = Buffer.concat(Array.from({ length: 4_000 }, (_, i) => notify({ streamId: i, messages: [] })));
  const peers = Array.from({ length: 20 }, () => served.connect());

  await Promise.all(
    peers.map(async (peer) => {
      await peer.send(hello());
      // Until the agent closes the connection: it has to send 17 bytes of ACK for 11 bytes of NOTIFY.
      while (!peer.socket.closed && !peer.socket.destroyed) await peer.send(flood);
    }),
  );

  await until(() => served.listener.connections === 0);
  // This process has both ends of the connections.
  expect(residentMiB() - before).toBeLessThan(200);
  expect(served.logged.lines).toMatchObject([{ event: "stalled", reason: "the peer does not read its ACKs" }]);
});

it.each<[string, Buffer]>([
  ["has sent a DISCONNECT", Buffer.concat([hello(), haproxyDisconnect(0, "normal")])],
  ["has been refused", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
])("the listener ends a peer that %s, does not close and keeps sending", async (_, bytes) => {
  const served = await serve();
  const peer = served.connect(true).read();
  const startedAtMs = performance.now();

  await peer.send(bytes);
  const sending = setInterval(() => peer.socket.write(notify()), 20);
  await until(() => served.listener.connections === 0);
  clearInterval(sending);

  expect(elapsedSince(startedAtMs)).toBeLessThan(patientMs);
  expect(served.logged.lines.length).toBeLessThanOrEqual(1);
  expect(served.notifies()).toBe(0);
});

it("the listener ends a half-closed connection", async () => {
  const served = await serve();
  const peer = served.connect(true).read();

  await peer.send(hello(), notify());
  peer.socket.end();

  await until(() => served.listener.connections === 0);
  expect(await peer.frames(2)).toHaveLength(2);
  expect(served.logged.lines).toEqual([]);
});
