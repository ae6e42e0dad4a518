import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { hello } from "../support/spop/spop-frames.ts";
import { typicalNotify } from "./typical-notify.ts";

export interface LoadOptions {
  readonly port: number;
  readonly connections: number;
  /** The number of NOTIFYs without an ACK on each connection. */
  readonly window: number;
  readonly seconds: number;
  /** NOTIFYs per second over all connections; if left out, as fast as they are acknowledged. */
  readonly ratePerSecond?: number;
}

export interface LoadResult {
  readonly acknowledged: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

// Not measured: code is slow until it is compiled, and an agent runs for weeks.
const warmUpMs = 2_000;
const bucketUs = 10;
const buckets = 100_000;

/** Acts as HAProxy: sends NOTIFYs on several connections, and measures the time until each ACK. */
export async function loadAgent(options: LoadOptions): Promise<LoadResult> {
  const { port, connections, window, seconds, ratePerSecond } = options;
  const latencies = new Uint32Array(buckets);
  const peers: Peer[] = [];
  const startMs = performance.now();
  const measuredFromMs = startMs + warmUpMs;
  const endMs = measuredFromMs + seconds * 1_000;
  for (let i = 0; i < connections; i++) peers.push(await Peer.connect(port, window, latencies, measuredFromMs));
  if (ratePerSecond === undefined) {
    for (const peer of peers) peer.flood(endMs);
    await Promise.all(peers.map((peer) => peer.finished));
  } else {
    await pace(peers, ratePerSecond, startMs, endMs);
  }
  const elapsedMs = performance.now() - measuredFromMs;
  for (const peer of peers) peer.close();
  const acknowledged = latencies.reduce((sum, count) => sum + count, 0);
  return {
    acknowledged,
    perSecond: (acknowledged * 1_000) / elapsedMs,
    p50Us: percentileUs(latencies, acknowledged, 0.5),
    p99Us: percentileUs(latencies, acknowledged, 0.99),
    p999Us: percentileUs(latencies, acknowledged, 0.999),
  };
}

async function pace(peers: readonly Peer[], ratePerSecond: number, startMs: number, endMs: number): Promise<void> {
  let sent = 0;
  for (let nowMs = startMs; nowMs < endMs; nowMs = performance.now()) {
    for (const due = ((nowMs - startMs) * ratePerSecond) / 1_000; sent < due; sent++) peers[sent % peers.length].send();
    for (const peer of peers) peer.flush();
    // No timer: it would fire each millisecond at best and send 20 requests at once, unlike real traffic.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(peers.map((peer) => peer.finished));
}

/** A connection of HAProxy. It counts NOTIFYs and ACKs, which is enough because an agent answers in order. */
class Peer {
  readonly #socket: Socket;
  readonly #window: number;
  readonly #latencies: Uint32Array;
  readonly #measuredFromMs: number;
  readonly #frames: readonly Buffer[];
  readonly #sentAtMs: number[] = [];
  #oldest = 0;
  #next = 0;
  #unsent: Buffer[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #floodUntilMs = 0;
  #onFinished: (() => void) | undefined;

  static async connect(port: number, window: number, latencies: Uint32Array, measuredFromMs: number): Promise<Peer> {
    const socket = createConnection({ host: "127.0.0.1", port, noDelay: true });
    await once(socket, "connect");
    socket.write(hello());
    await once(socket, "data");
    return new Peer(socket, window, latencies, measuredFromMs);
  }

  private constructor(socket: Socket, window: number, latencies: Uint32Array, measuredFromMs: number) {
    this.#measuredFromMs = measuredFromMs;
    this.#socket = socket;
    this.#window = window;
    this.#latencies = latencies;
    this.#frames = Array.from({ length: 512 }, (_, i) => typicalNotify(i));
    socket.on("data", (chunk) => this.#take(chunk));
  }

  /** Resolves when every NOTIFY has its ACK. */
  get finished(): Promise<void> {
    if (this.#oldest === this.#sentAtMs.length && this.#floodUntilMs < performance.now()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onFinished = resolve;
    });
  }

  flood(untilMs: number): void {
    this.#floodUntilMs = untilMs;
    for (let i = 0; i < this.#window; i++) this.send();
    this.flush();
  }

  send(): void {
    this.#unsent.push(this.#frames[this.#next++ % this.#frames.length]);
    this.#sentAtMs.push(performance.now());
  }

  flush(): void {
    if (this.#unsent.length === 0) return;
    this.#socket.write(Buffer.concat(this.#unsent));
    this.#unsent = [];
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    const nowMs = performance.now();
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at);
      if (bytes.length - at < 4 + length) break;
      at += 4 + length;
      const latencyUs = (nowMs - this.#sentAtMs[this.#oldest++]) * 1_000;
      if (nowMs >= this.#measuredFromMs) this.#latencies[Math.min(buckets - 1, Math.floor(latencyUs / bucketUs))]++;
      if (nowMs < this.#floodUntilMs) this.send();
    }
    this.#rest = bytes.subarray(at);
    this.flush();
    if (this.#oldest > 100_000) {
      this.#sentAtMs.splice(0, this.#oldest);
      this.#oldest = 0;
    }
    if (this.#oldest === this.#sentAtMs.length) this.#onFinished?.();
  }
}

function percentileUs(latencies: Uint32Array, total: number, share: number): number {
  let seen = 0;
  for (let i = 0; i < latencies.length; i++) {
    seen += latencies[i];
    if (seen >= total * share) return (i + 1) * bucketUs;
  }
  return latencies.length * bucketUs;
}
