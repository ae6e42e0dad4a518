import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { bin, frame, hello, notify, plain, str, uint32 } from "../../support/spop/spop-frames.ts";
import { startAgent } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";

const MiB = 1024 * 1024;
// HAProxy waits for 50 ms at most (`timeout processing`), and clients notice a few.
const mostMs = 5;
// A busy machine delays some answers. A frame that blocks the agent delays one in every round.
const rounds = 4;
// More than the garbage collections of one round differ from another's, and far less than eight million messages cost.
const mostExtraMs = 60;
// Nothing on a busy machine takes longer than this.
const blockedMs = 500;
const maxMs = 40_000;

const repeated = (bytes: Buffer, total: number) => Buffer.alloc(Math.floor(total / bytes.length) * bytes.length, bytes);
const request = Buffer.concat([Buffer.of(0, 2), plain("method"), str("G"), plain("path"), str("/")]);
const withHeaders = (list: Buffer) =>
  Buffer.concat([Buffer.of(0, 3), plain("method"), str("G"), plain("path"), str("/"), plain("hdrs"), list]);

/** Payloads of one NOTIFY with as much to read as a frame can hold, for frames of a size. */
const control = "one argument";
const shapes: Readonly<Record<string, (bytes: number) => Buffer>> = {
  "empty messages": (bytes) => repeated(Buffer.of(0, 0), bytes),
  "unknown arguments": (bytes) => {
    const names = Array.from({ length: 255 }, (_, i) => Buffer.of(2, 97 + (i % 26), 65 + ((i * 7) % 26), 0));
    return repeated(Buffer.concat([Buffer.of(1, 109, 255), ...names]), bytes);
  },
  [control]: (bytes) => Buffer.concat([Buffer.of(0, 1), plain("x"), bin(Buffer.alloc(bytes - 100))]),
  requests: (bytes) => repeated(request, bytes),
  headers: (bytes) => withHeaders(bin(repeated(Buffer.of(1, 97, 0), bytes - 100))),
  "header lines": (bytes) => withHeaders(str(repeated(Buffer.from("a:\n"), bytes - 100))),
  "lists without a line end": (bytes) => repeated(withHeaders(str("a:")), bytes),
};

interface Order {
  readonly port: number;
  readonly shape: string;
  readonly connections: number;
  readonly bytes: number;
}

/** In a thread of its own, so that it does not delay the requests whose answers are timed. */
async function flood({ port, shape, connections, bytes }: Order): Promise<void> {
  const bad = frame({ type: 3, streamId: 7, frameId: 1, payload: shapes[shape](bytes) });
  const greeting = hello({ "max-frame-size": uint32(16 * MiB) });
  const sockets: Socket[] = [];
  for (let i = 0; i < connections; i++) {
    const socket = connect(port, "127.0.0.1").on("error", () => {});
    socket.on("data", () => {});
    await new Promise((resolve) => socket.write(greeting, resolve));
    // All but the last byte, so that the frames of all connections end at the same time.
    await new Promise((resolve) => socket.write(bad.subarray(0, bad.length - 1), resolve));
    sockets.push(socket);
  }
  for (const socket of sockets) socket.write(bad.subarray(bad.length - 1));
  await sleep(300);
  for (const socket of sockets) socket.destroy();
}

/** HAProxy on a connection of its own: one request each millisecond. */
class Clock {
  readonly #socket: Socket;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true }).on("error", () => {});
  }

  /** Sends one frame and waits for its answer. */
  async ask(bytes: Buffer): Promise<void> {
    this.#socket.write(bytes);
    await once(this.#socket, "data");
  }

  /** The longest time to an ACK until `done` resolves. */
  async longestMs(done: Promise<unknown>): Promise<number> {
    let over = false;
    void done.finally(() => {
      over = true;
    });
    const request = notify({ messages: [] });
    let longest = 0;
    while (!over) {
      const startMs = performance.now();
      await this.ask(request);
      longest = Math.max(longest, performance.now() - startMs);
      await sleep(1);
    }
    return longest;
  }

  end(): void {
    this.#socket.destroy();
  }
}

interface Timed {
  readonly longestMs: number;
  readonly busyMs: number;
}

function format({ longestMs, busyMs }: Timed): string {
  return `${longestMs.toFixed(1)} ms (${busyMs.toFixed(0)} ms of CPU)`;
}

/** The time that the main thread of a process has computed. Unlike other times, it is not longer on a busy machine. */
function busyMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
}

async function orderFlood(order: Order): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: order });
  await new Promise((resolve) => worker.once("exit", resolve));
}

export const attack: Attack = {
  name: "frame-of-empty-messages",
  promise: "no frame delays the ACKs of other connections by more than a few milliseconds",
  async run(ground) {
    const { agent, port } = await startAgent(ground, { env: { MALLOC_ARENA_MAX: "2" } });
    const endMs = performance.now() + maxMs;
    /** The least of several rounds: of the longest time to an ACK, and of the time that the agent's main thread computed. */
    const timed = async (work: () => Promise<unknown>): Promise<Timed> => {
      const least = { longestMs: Number.POSITIVE_INFINITY, busyMs: Number.POSITIVE_INFINITY };
      for (let round = 0; round < rounds && least.longestMs > mostMs; round++) {
        if (round > 0 && (least.busyMs > blockedMs || performance.now() > endMs)) break;
        const clock = new Clock(port);
        await clock.ask(hello());
        const before = busyMs(agent.pid);
        least.longestMs = Math.min(least.longestMs, await clock.longestMs(work()));
        least.busyMs = Math.min(least.busyMs, busyMs(agent.pid) - before);
        clock.end();
      }
      return least;
    };
    const ofOne = (shape: string): Order => ({ port, shape, connections: 1, bytes: 15.9 * MiB });
    const ofMany = (shape: string): Order => ({ port, shape, connections: 200, bytes: 60 * 1024 });
    const idle = await timed(() => sleep(1_000));
    // The same number of bytes with nothing to read in them: what they cost is the price of receiving them.
    const plainOfMany = await timed(() => orderFlood(ofMany(control)));
    const plainOfOne = await timed(() => orderFlood(ofOne(control)));
    const figures: [string, Timed][] = [];
    const attacked = Object.keys(shapes).filter((name) => name !== control);
    for (const shape of attacked) {
      if (performance.now() < endMs) figures.push([shape, await timed(() => orderFlood(ofOne(shape)))]);
    }
    const many = await timed(() => orderFlood(ofMany("empty messages")));
    // On a busy machine the times to an ACK say little. But a frame blocks for no longer than the CPU time that it costs.
    const extraMs = [...figures.map(([, { busyMs }]) => busyMs - plainOfOne.busyMs), many.busyMs - plainOfMany.busyMs];
    const longestMs = Math.max(many.longestMs, ...figures.map(([, figure]) => figure.longestMs));
    // What was not measured is not kept.
    const held = figures.length === attacked.length && (longestMs <= mostMs || Math.max(...extraMs) <= mostExtraMs);
    const shown = [...figures, ["200 connections", many] as const].map(([name, figure]) => `${name} ${format(figure)}`);
    const seen = `idle ${format(idle)}, as many plain bytes ${format(plainOfOne)} and ${format(plainOfMany)}; ${shown.join(", ")}`;
    return { held, peakMiB: agent.peakMiB, longestMs, seen };
  },
};

if (!isMainThread && parentPort && (workerData as Order | null)?.shape !== undefined) await flood(workerData as Order);
