import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { addsUp } from "../../../relay/stats/ledger-equations.ts";
import { until } from "../../support/clocks/until.ts";
import { Rig } from "../../support/processes/rig.ts";

// HAProxy's buffer of 16 KiB holds about 15,150 bytes of a body with few headers.
const fitting = [0, 1, 1_000, 14_000, 15_000];
const tooLong = [15_360, 20_000, 100_000];
// Chunks that end at the last bytes of the buffer, and the rest after a pause.
const edges = [15_060, 15_090, 15_100, 15_110, 15_120, 15_130, 15_140, 15_150, 15_170, 15_190];

const aborts = ["chunked", "fin", "rst", "stream"] as const;

let rig: Rig;
let sent: Map<string, Buffer>;
let http2: ClientHttp2Session;
const sockets = new Set<Socket>();

afterEach(async () => {
  http2?.destroy();
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await rig?.stop();
});

describe("an upload without a length", () => {
  it("is never called complete if it is not, with `whole`", async () => {
    await start(withWhole);

    await Promise.all([
      ...[...fitting, ...tooLong].map((bytes) => http2Upload(bytes)),
      ...edges.map((bytes) => chunkedUpload(`edge-${bytes}`, [bytes, 5_000])),
      ...fitting.map((bytes) => chunkedUpload(`whole-${bytes}`, bytes === 0 ? [] : [bytes])),
      ...aborts.map((abort) => abortedUpload(abort)),
    ]);
    const { whole, marked } = await arrived();

    expect(whole.filter(({ body, path }) => !sent.get(path)?.equals(body)).map(({ path }) => path)).toEqual([]);
    expect(new Set(whole.map(({ path }) => path))).toEqual(
      new Set(fitting.flatMap((bytes) => [`/api/v1/h2-${bytes}`, `/api/v1/whole-${bytes}`])),
    );
    for (const bytes of tooLong) expect(marked).toContain(`/api/v1/h2-${bytes}`);
    for (const bytes of edges) expect(marked).toContain(`/api/v1/edge-${bytes}`);
    expect(rig.output).not.toContain("whole-unknown");
    expect(await rig.agentStats()).not.toHaveProperty("warnings");
  });

  it("is recognised by HAProxy's buffer in an older configuration, and the log names the cure once", async () => {
    await start(withoutWhole);

    await Promise.all([
      ...[...fitting, ...tooLong].map((bytes) => http2Upload(bytes)),
      ...edges.map((bytes) => chunkedUpload(`edge-${bytes}`, [bytes, 5_000])),
    ]);
    const { whole, marked } = await arrived();

    expect(whole.map(({ path }) => path).sort()).toEqual(fitting.map((bytes) => `/api/v1/h2-${bytes}`).sort());
    expect(whole.filter(({ body, path }) => !sent.get(path)?.equals(body)).map(({ path }) => path)).toEqual([]);
    for (const bytes of tooLong) expect(marked).toContain(`/api/v1/h2-${bytes}`);
    const lines = rig.output.split("\n").filter((line) => line.includes('"event":"whole-unknown"'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("args whole=internal.htx.has_eom");
    expect(await rig.agentStats()).toMatchObject({ warnings: [expect.stringContaining("whole=internal.htx.has_eom")] });
  });
});

function withoutWhole(text: string): string {
  return text.replace(/ whole=\S+/g, "");
}

function withWhole(text: string, file: string): string {
  return file === "spoe.cfg"
    ? withoutWhole(text).replace(/^ *args .*\bbody=req\.body\b.*$/m, "$& whole=internal.htx.has_eom")
    : text;
}

async function start(configure: (text: string, file: string) => string): Promise<void> {
  sent = new Map();
  rig = await Rig.start({
    targets: { whole: "rate: unlimited", all: "rate: unlimited, truncated: send" },
    configure,
  });
  // HAProxy recognises HTTP/2 by its first bytes.
  http2 = connectHttp2(rig.frontend);
}

/** What has reached the target that takes complete bodies only, and the paths that arrived marked as truncated. */
async function arrived() {
  const marker = "/api/v1/last";
  await (await fetch(rig.frontend + marker)).arrayBuffer();
  const { whole, all } = rig.shadows;
  await until(() => all.received.some(({ path }) => path === marker));
  expect(addsUp(await rig.settledLedger())).toBe(true);
  const marked = all.received.filter(({ headers }) => headers["x-mirror-truncated"] === "true");
  return { whole: whole.received.filter(({ path }) => path !== marker), marked: marked.map(({ path }) => path) };
}

async function http2Upload(bytes: number): Promise<void> {
  const path = `/api/v1/h2-${bytes}`;
  const body = remember(path, bytes);
  const stream = http2.request({ ":method": "POST", ":path": path }, { endStream: false });
  stream.end(body);
  await once(stream, "response");
  stream.close();
}

/** Sends chunks with a pause behind each of them, so that HAProxy reads one after the other. */
async function chunkedUpload(name: string, chunks: readonly number[]): Promise<void> {
  const path = `/api/v1/${name}`;
  const bodies = chunks.map((bytes) => randomBytes(bytes));
  sent.set(path, Buffer.concat(bodies));
  const socket = await openSocket();
  socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`);
  for (const body of bodies) {
    socket.write(Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n")]));
    if (chunks.length > 1) await sleep(300);
  }
  // Not `end`: HAProxy 3.4 answers 400 to a client that closes its side before the answer, and no server gets the request.
  socket.write("0\r\n\r\n");
  await once(socket, "data");
  socket.destroy();
}

/** Breaks an upload off in the middle: with the end of the connection, a reset, or a reset of the stream. */
async function abortedUpload(abort: (typeof aborts)[number]): Promise<void> {
  const path = `/api/v1/aborted-${abort}`;
  const socket = await openSocket();
  if (abort === "chunked") {
    socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n`);
    socket.end(randomBytes(500));
  } else {
    const session = connectHttp2(rig.frontend, { createConnection: () => socket });
    session.on("error", () => {});
    const stream = session.request({ ":method": "POST", ":path": path }, { endStream: false });
    stream.on("error", () => {});
    await new Promise<void>((resolve) => stream.write(randomBytes(3_000), () => resolve()));
    if (abort === "fin") socket.end();
    else if (abort === "rst") socket.resetAndDestroy();
    else {
      // `close` would send the end of the stream first.
      stream.destroy(new Error("aborted"));
      session.close();
    }
  }
  if (!socket.closed) await once(socket, "close");
}

function remember(path: string, bytes: number): Buffer {
  const body = randomBytes(bytes);
  sent.set(path, body);
  return body;
}

async function openSocket(): Promise<Socket> {
  const socket = connect(Number(new URL(rig.frontend).port), "127.0.0.1");
  socket.on("error", () => {});
  sockets.add(socket);
  await once(socket, "connect");
  return socket;
}
