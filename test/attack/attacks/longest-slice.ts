import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { bin, frame, headersBinary, hello, plain, str, type Typed, uint32 } from "../../support/spop/spop-frames.ts";
import { startAgent } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";
import type { AttackedProcess } from "../ground.ts";

const MiB = 1024 * 1024;
const frameBytes = 15.9 * MiB;
// A busy machine makes some slices longer, and a slow one all of them.
const rounds = 4;
const mostMs = 5;
const maxMs = 90_000;

const repeated = (bytes: Buffer, total: number) => Buffer.alloc(Math.floor(total / bytes.length) * bytes.length, bytes);
const message = (...args: (readonly [name: string, value: Typed])[]) =>
  Buffer.concat([Buffer.of(0, args.length), ...args.flatMap(([name, value]) => [plain(name), value])]);
const request = (...more: (readonly [name: string, value: Typed])[]) =>
  message(["method", str("G")], ["path", str("/")], ...more);
const notify = (payload: Buffer) => frame({ type: 3, streamId: 1, frameId: 1, payload });
const begun = (payload: Buffer) => frame({ type: 3, flags: 0, streamId: 1, frameId: 1, payload });
const aborted = frame({ type: 0, flags: 3, streamId: 1, frameId: 1 });
const control = "plain bytes";

interface Shape {
  readonly connections?: number;
  /** What each connection sends at the same time. */
  bytes(): Buffer;
}

const shapes: Readonly<Record<string, Shape>> = {
  [control]: { bytes: () => frame({ type: 50, payload: Buffer.alloc(frameBytes) }) },
  "DISCONNECT of keys": { bytes: () => frame({ type: 2, payload: repeated(Buffer.of(0, 0), frameBytes) }) },
  "DISCONNECT of different keys": {
    bytes: () => {
      const payload = Buffer.alloc(6_000_000);
      for (let i = 0; i < payload.length / 5; i++) payload.set([3, i >> 16, (i >> 8) & 255, i & 255, 0], i * 5);
      return frame({ type: 2, payload });
    },
  },
  "empty messages": { bytes: () => notify(repeated(Buffer.of(0, 0), frameBytes)) },
  "lengths of a body": {
    bytes: () => notify(request(["hdrs", bin(headersBinary(["content-length", ",".repeat(frameBytes - 200)]))])),
  },
  "32,767 headers": { bytes: () => notify(request(["hdrs", bin(repeated(Buffer.of(1, 97, 0), 3 * 32_767))])) },
  "32,767 header lines": { bytes: () => notify(request(["hdrs", str(repeated(Buffer.from("a:\n"), 3 * 32_767))])) },
  "64 requests with 240 KiB each": {
    bytes: () => notify(Buffer.concat(Array.from({ length: 64 }, () => request(["body", bin(Buffer.alloc(245_000))])))),
  },
  "a message in 64 KiB fragments": {
    bytes: () => {
      const payload = Buffer.alloc(65_000, 65);
      const more = Array.from({ length: 200 }, () => frame({ type: 0, flags: 0, streamId: 1, frameId: 1, payload }));
      return Buffer.concat([begun(payload), ...more, frame({ type: 0, streamId: 1, frameId: 1 })]);
    },
  },
  "messages of 257 KiB that are aborted": {
    bytes: () => repeated(Buffer.concat([begun(Buffer.alloc(263_000)), aborted]), frameBytes),
  },
  "6,000 NOTIFYs in a chunk": { bytes: () => repeated(frame({ type: 3 }), 65_536) },
  "6,000 fragments in a chunk": { bytes: () => repeated(Buffer.concat([begun(Buffer.alloc(0)), aborted]), 65_536) },
};

async function greeted(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  await new Promise<void>((resolve) => {
    socket.once("data", () => resolve()).once("close", () => resolve());
    socket.write(hello({ "max-frame-size": uint32(16 * MiB) }));
  });
  socket.on("data", () => {});
  return socket;
}

const written = (socket: Socket, bytes: Buffer) => new Promise((resolve) => socket.write(bytes, resolve));

/** The longest time for which the agent has computed without looking at its sockets since the last call. */
async function longestSliceMs(agent: AttackedProcess): Promise<number> {
  if (agent.ended) return Number.POSITIVE_INFINITY;
  const before = agent.output.length;
  process.kill(agent.pid, "SIGUSR2");
  const found = () => /longest slice: ([\d.]+) ms/.exec(agent.output.slice(before))?.[1];
  for (const endMs = performance.now() + 10_000; found() === undefined && performance.now() < endMs; ) await sleep(10);
  return Number(found() ?? Number.POSITIVE_INFINITY);
}

async function measure(agent: AttackedProcess, port: number, { bytes, connections = 1 }: Shape): Promise<number> {
  const sent = bytes();
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds && !(least <= mostMs); round++) {
    const sockets: Socket[] = [];
    for (let i = 0; i < connections; i++) sockets.push(await greeted(port));
    await longestSliceMs(agent);
    await Promise.all(sockets.map((socket) => written(socket, sent)));
    await sleep(300);
    least = Math.min(least, await longestSliceMs(agent));
    for (const socket of sockets) socket.destroy();
  }
  return least;
}

export const attack: Attack = {
  name: "longest-slice",
  promise:
    "nothing that a connection sends keeps the agent from its other connections for more than a few milliseconds",
  async run(ground) {
    const probe = fileURLToPath(new URL("../slice-probe.ts", import.meta.url));
    const { agent, port } = await startAgent(ground, {
      env: { MALLOC_ARENA_MAX: "2", NODE_OPTIONS: `--import=${probe}` },
    });
    const endMs = performance.now() + maxMs;
    // Code that has not run before is slow.
    await measure(agent, port, { bytes: () => repeated(notify(request()), 65_536) });
    const figures: [name: string, ms: number][] = [];
    for (const [name, shape] of Object.entries(shapes)) {
      if (performance.now() < endMs && !agent.ended) figures.push([name, await measure(agent, port, shape)]);
    }
    const [[, plainMs]] = figures;
    const longestMs = Math.max(...figures.map(([, ms]) => ms));
    // What was not measured is not kept.
    const held = figures.length === Object.keys(shapes).length && longestMs <= Math.max(mostMs, 3 * plainMs);
    const seen = figures.map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(", ");
    return { held, peakMiB: agent.peakMiB, longestMs, seen };
  },
};
