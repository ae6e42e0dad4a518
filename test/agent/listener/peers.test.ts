import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Listener, type ListenerOptions } from "../../../agent/listener/listener.ts";
import { parseAddressRange } from "../../../relay/config/address-range.ts";
import type { ListenAddress } from "../../../relay/config/forms.ts";
import { createLogger } from "../../../relay/log/log.ts";
import { until } from "../../support/clocks/until.ts";
import { CertificateAuthority, type CertificateFiles } from "../../support/data/certificates.ts";
import { run } from "../../support/processes/command-line.ts";
import { hello, notify, readAgentFrames } from "../../support/spop/spop-frames.ts";

let directory: string;
let authority: CertificateAuthority;
let agentFiles: CertificateFiles;
let peerFiles: CertificateFiles;
let strangerFiles: CertificateFiles;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-peers-"));
  authority = new CertificateAuthority(directory, "authority");
  agentFiles = authority.issue("agent");
  peerFiles = authority.issue("haproxy");
  strangerFiles = new CertificateAuthority(directory, "other-authority").issue("stranger");
});
afterAll(() => rmSync(directory, { recursive: true }));

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Started {
  readonly listener: Listener;
  readonly port: number;
  readonly warnings: () => Record<string, unknown>[];
  readonly lines: Record<string, unknown>[];
}

const anyPort: ListenAddress = { kind: "tcp", host: "127.0.0.1", port: 0 };

function createListener(changes: Partial<ListenerOptions>): [Listener, Record<string, unknown>[]] {
  const lines: Record<string, unknown>[] = [];
  const listener = new Listener({
    address: anyPort,
    maxFrameBytes: 1024 * 1024,
    maxHeldBytes: 1024 * 1024,
    onNotify: () => {},
    onOversize: () => {},
    log: createLogger("debug", { write: (line) => lines.push(JSON.parse(line)) }),
    ...changes,
  });
  cleanups.push(() => listener.destroy());
  return [listener, lines];
}

async function start(changes: Partial<ListenerOptions>): Promise<Started> {
  const [listener, lines] = createListener(changes);
  const port = Number((await listener.listen()).split(":").at(-1));
  return { listener, port, lines, warnings: () => lines.filter(({ level }) => level === "warn") };
}

function plainPeer(port: number, host = "127.0.0.1"): Socket {
  const socket = connect(port, host);
  socket.on("error", () => {});
  cleanups.push(() => socket.destroy());
  return socket;
}

function tlsPeer(port: number, files?: CertificateFiles): TLSSocket {
  const pem = files && { cert: read(files.cert), key: read(files.key) };
  const socket = connectTls({ port, host: "127.0.0.1", ca: read(authority.file), ...pem });
  socket.on("error", () => {});
  cleanups.push(() => socket.destroy());
  return socket;
}

const read = (file: string): string => readFileSync(file, "utf8");
const ranges = (...texts: string[]) =>
  texts.map((text) => parseAddressRange(text)).filter((range) => range !== undefined);
const ended = (socket: Socket) => new Promise((resolve) => socket.once("close", resolve));

/** Sends a HELLO and a NOTIFY. Resolves with true if both are answered. */
async function isServed(socket: Socket): Promise<boolean> {
  const chunks: Buffer[] = [];
  const wanted = 2;
  socket.write(Buffer.concat([hello(), notify()]));
  return new Promise((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      const frames = readAgentFrames(Buffer.concat(chunks));
      if (frames.length === wanted) resolve(frames[0].type === "hello" && frames[1].type === "ack");
    });
    socket.once("close", () => resolve(false));
  });
}

describe("TLS", () => {
  const tls = () => ({ cert: agentFiles.cert, key: agentFiles.key });

  it("carries the protocol", async () => {
    const { port, listener, warnings } = await start({ tls: tls() });

    const peer = tlsPeer(port);

    expect(await isServed(peer)).toBe(true);
    expect(listener.connections).toBe(1);
    peer.destroy();
    await until(() => listener.connections === 0);
    expect(warnings()).toEqual([]);
  });

  it.each<[string, Buffer, string]>([
    ["SPOP without TLS", hello(), "the peer connects without TLS, but agent.tls is set: add ssl verify required"],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "this is an HTTP request"],
  ])("refuses %s with one log line a minute that says what to change", async (_, bytes, reason) => {
    const { port, warnings, listener } = await start({ tls: tls() });

    for (let i = 0; i < 3; i++) {
      const peer = plainPeer(port);
      peer.write(bytes);
      await ended(peer);
    }

    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toMatchObject({ event: "tls", reason: expect.stringContaining(reason) });
    expect(await isServed(tlsPeer(port))).toBe(true);
    expect(listener.connections).toBe(1);
  });

  it("says what to check if the peer does not trust the certificate", async () => {
    const { port, warnings } = await start({ tls: { cert: strangerFiles.cert, key: strangerFiles.key } });

    // Node's own client sends no alert.
    const address = `127.0.0.1:${port}`;
    await run("openssl", "s_client", "-connect", address, "-CAfile", authority.file, "-verify_return_error");
    await until(() => warnings().length > 0);

    expect(warnings()).toMatchObject([{ reason: expect.stringContaining("check ca-file in the server line") }]);
  });

  it.each(["silent", "one byte at a time"])("ends a handshake that does not finish in time: %s", async (how) => {
    const { port, warnings, listener } = await start({ tls: tls(), helloDeadlineMs: 300 });
    const peer = plainPeer(port);
    // A ClientHello that announces far more bytes than the peer sends.
    const bytes = Buffer.concat([Buffer.from("16030102000100", "hex"), Buffer.alloc(400)]);
    let sent = 0;
    const drip = setInterval(() => how !== "silent" && peer.write(bytes.subarray(sent, ++sent)), 20);

    await ended(peer);
    clearInterval(drip);

    expect(warnings()).toMatchObject([{ reason: "the peer did not finish the TLS handshake in time" }]);
    expect(listener.connections).toBe(0);
  });

  it("ends a connection that sends no HELLO after its handshake", async () => {
    const { port, warnings } = await start({ tls: tls(), helloDeadlineMs: 500 });

    // The handshake has the same deadline; on a slow machine a peer may miss it there.
    await until(async () => {
      await ended(tlsPeer(port));
      return warnings().some(({ event }) => event === "no-hello");
    });
  });

  it("drops unfinished handshakes when the agent stops", async () => {
    const { port, listener } = await start({ tls: tls() });
    const peer = plainPeer(port);
    await until(() => listener.accepted === 1);

    await listener.disconnect();

    await ended(peer);
  });

  it("serves no peer whose handshake ends while the others are disconnected: its messages would come too late", async () => {
    const { port, listener } = await start({ tls: tls() });
    // The stop waits for the rest of this frame.
    const slow = tlsPeer(port);
    slow.write(Buffer.concat([hello(), notify().subarray(0, 9)]));
    await once(slow, "data");
    const socket = plainPeer(port);
    await until(() => listener.accepted === 2);

    const stopped = listener.disconnect();
    const late = connectTls({ socket, host: "127.0.0.1", ca: read(authority.file) });
    late.on("error", () => {});

    expect(await isServed(late)).toBe(false);
    await stopped;
  });

  it.each(["greeted", "in half a handshake"])(
    "limits connections by memory, not only by descriptors: %s",
    async (how) => {
      const { port, warnings, listener } = await start({ tls: tls(), helloDeadlineMs: 60_000 });
      // 1.25 MiB: the room for one frame.
      const most = 40;

      const peers = Array.from({ length: 60 }, () => (how === "greeted" ? tlsPeer(port) : plainPeer(port)));
      const halfHello = Buffer.concat([Buffer.from("16030140000100", "hex"), Buffer.alloc(8_000)]);
      for (const peer of peers) peer.write(how === "greeted" ? hello() : halfHello);
      await until(() => listener.accepted === 60 && peers.filter(({ closed }) => closed).length >= 20);

      expect(peers.filter(({ closed }) => !closed)).toHaveLength(most);
      const reason = "the agent has all 40 connections that agent.connectionBuffer allows with TLS";
      expect(warnings()).toMatchObject([{ event: "crowded", reason }]);
      const late = tlsPeer(port);
      expect(await isServed(late)).toBe(true);
    },
  );

  it("uses reloaded certificates for new connections, and keeps the old ones if the new ones are unusable", async () => {
    const files = authority.issue("renewed");
    const { port, listener, lines } = await start({ tls: { cert: files.cert, key: files.key } });
    const before = tlsPeer(port);
    expect(await isServed(before)).toBe(true);

    authority.issue("renewed");
    listener.reloadCertificates();
    const after = tlsPeer(port);
    expect(await isServed(after)).toBe(true);
    writeFileSync(files.key, "no key");
    listener.reloadCertificates();
    const last = tlsPeer(port);
    expect(await isServed(last)).toBe(true);

    const serials = [before, after, last].map((peer) => peer.getPeerCertificate().serialNumber);
    expect(serials[1]).not.toBe(serials[0]);
    expect(serials[2]).toBe(serials[1]);
    expect(lines.filter(({ event }) => event === "certificates")).toMatchObject([
      { level: "info", subject: "CN=renewed", expired: false },
      {
        level: "error",
        reason: `agent.tls.key: ${files.key} contains no private key without a passphrase in PEM format`,
      },
    ]);
  });

  it("logs an error for an expired certificate", () => {
    const files = authority.issue("old", -1);

    const [, lines] = createListener({ tls: { cert: files.cert, key: files.key } });

    expect(lines).toMatchObject([{ level: "error", event: "certificates", expired: true }]);
  });

  it.each<[string, () => Partial<Record<"cert" | "key" | "clientCa", string>>, RegExp]>([
    [
      "a missing certificate",
      () => ({ cert: "/nowhere.pem" }),
      /^agent\.tls\.cert: \/nowhere\.pem cannot be read: there is no/,
    ],
    [
      "a key instead of a certificate",
      () => ({ cert: agentFiles.key }),
      /^agent\.tls\.cert: .* contains no certificate in PEM format$/,
    ],
    [
      "the key of another certificate",
      () => ({ key: peerFiles.key }),
      /^agent\.tls\.key: .* is not the key of the certificate in /,
    ],
    [
      "an authority that is not a certificate",
      () => ({ clientCa: agentFiles.key }),
      /^agent\.tls\.clientCa: .* contains no certificate in PEM format$/,
    ],
  ])("names the key and the file: %s", (_, changes, message) => {
    expect(() => createListener({ tls: { ...tls(), ...changes() } })).toThrow(message);
  });
});

describe("mutual TLS", () => {
  const tls = () => ({ cert: agentFiles.cert, key: agentFiles.key, clientCa: authority.file });

  it("serves a peer with a certificate of the authority", async () => {
    const { port, warnings } = await start({ tls: tls() });

    expect(await isServed(tlsPeer(port, peerFiles))).toBe(true);
    expect(warnings()).toEqual([]);
  });

  it("refuses a peer without a certificate, and says what to change", async () => {
    const { port, warnings, listener } = await start({ tls: tls() });

    expect(await isServed(tlsPeer(port))).toBe(false);

    expect(warnings()).toMatchObject([{ event: "tls", reason: expect.stringContaining("add crt FILE to the server") }]);
    expect(listener.connections).toBe(0);
  });

  it("refuses a peer with a certificate of another authority", async () => {
    const { port, warnings, listener } = await start({ tls: tls() });

    expect(await isServed(tlsPeer(port, strangerFiles))).toBe(false);

    expect(warnings()).toMatchObject([{ event: "tls", reason: expect.stringContaining("is not accepted") }]);
    expect(listener.connections).toBe(0);
  });
});

describe("the allow list", () => {
  it.each<[string, string, string[], boolean]>([
    ["127.0.0.1", "127.0.0.1", ["127.0.0.1"], true],
    ["127.0.0.1", "127.0.0.1", ["10.0.0.0/8", "127.0.0.0/8"], true],
    ["127.0.0.1", "127.0.0.1", ["127.0.0.2", "::1"], false],
    ["127.0.0.1", "127.0.0.1", ["0.0.0.0/0"], true],
    ["127.0.0.1", "127.0.0.1", ["::/0"], true],
    ["::1", "::1", ["::1"], true],
    ["::1", "::1", ["127.0.0.0/8", "2001:db8::/32"], false],
    ["::", "127.0.0.1", ["127.0.0.0/8"], true],
    ["::", "127.0.0.1", ["::ffff:127.0.0.0/104"], true],
    ["::", "127.0.0.1", ["10.0.0.0/8"], false],
    ["::", "::1", ["127.0.0.1"], false],
  ])("of a listener on %s, peer %s, allow %j: allowed %s", async (host, peer, allow, isAllowed) => {
    const { port, listener } = await start({ address: { kind: "tcp", host, port: 0 }, allow: ranges(...allow) });

    expect(await isServed(plainPeer(port, peer))).toBe(isAllowed);

    expect(listener.refused).toBe(isAllowed ? 0 : 1);
    expect(listener.accepted).toBe(isAllowed ? 1 : 0);
  });

  it("closes refused connections without an answer, counts them, and logs once a minute", async () => {
    const { port, listener, warnings } = await start({ allow: ranges("192.0.2.0/24") });
    let receivedBytes = 0;

    for (let i = 0; i < 20; i++) {
      const peer = plainPeer(port);
      peer.on("data", (chunk) => {
        receivedBytes += chunk.length;
      });
      await ended(peer);
    }

    expect(listener.refused).toBe(20);
    expect(listener.connections).toBe(0);
    expect(receivedBytes).toBe(0);
    expect(warnings()).toMatchObject([{ event: "not-allowed", peer: expect.stringContaining("127.0.0.1:") }]);
  });

  it("is checked before TLS", async () => {
    const tls = { cert: agentFiles.cert, key: agentFiles.key };
    const { port, listener, warnings } = await start({ tls, allow: ranges("192.0.2.1") });

    await ended(tlsPeer(port));

    expect(listener.refused).toBe(1);
    expect(warnings()).toMatchObject([{ event: "not-allowed" }]);
  });
});

describe("a unix socket", () => {
  const listen = (path: string, changes: Partial<ListenerOptions>) =>
    start({ address: { kind: "unix", path }, ...changes });
  const root = process.getuid?.() === 0;

  it.each([0o600, 0o660, 0o666])("has the mode %i", async (mode) => {
    const path = join(directory, `mode-${mode}.sock`);

    await listen(path, { socket: { mode } });

    expect(statSync(path).mode & 0o777).toBe(mode);
    const peer = connect({ path });
    cleanups.push(() => peer.destroy());
    await once(peer, "connect");
    expect(await isServed(peer)).toBe(true);
  });

  it.skipIf(!root)("has the owner and the group, by name or by number", async () => {
    const paths = ["names", "numbers"].map((kind) => join(directory, `${kind}.sock`));

    await listen(paths[0], { socket: { owner: "nobody", group: "daemon", mode: 0o660 } });
    await listen(paths[1], { socket: { owner: 1234, group: "5678" } });

    expect(statSync(paths[0])).toMatchObject({ uid: 65_534, gid: 1, mode: 0o140660 });
    expect(statSync(paths[1])).toMatchObject({ uid: 1234, gid: 5678 });
  });

  it.each([
    ["owner", "agent.socket.owner: no-such-name: there is no user of this name on this machine"],
    ["group", "agent.socket.group: no-such-name: there is no group of this name on this machine"],
  ])("is closed if its %s is unknown, with an error that names the key", async (key, message) => {
    const path = join(directory, `wrong-${key}.sock`);

    await expect(listen(path, { socket: { [key]: "no-such-name" } })).rejects.toThrow(message);

    const peer = connect({ path });
    await expect(once(peer, "connect")).rejects.toThrow();
  });
});
