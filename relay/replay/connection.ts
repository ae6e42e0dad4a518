import { Client, type Dispatcher } from "undici";
import { type Connect, isHttp2 } from "./connector.ts";

// Shorter than the keep-alive timeout of common servers, so that no request is sent on a connection that the server closes.
const keepAliveMs = 4_000;
// The age at which a connection takes no more requests is between these. It is random, so that connections that were opened
// together are not renewed together.
const leastAgeMs = 20_000;
const largestAgeMs = 30_000;
// What undici allows on a connection; the shadow can allow less.
const maxStreams = 100;

/** The size of the head of an answer beyond which the answer is malformed. */
const maxHeadBytes = 1024 * 1024;

/** What the connections of a target share. */
export interface Shared {
  readonly origin: string;
  readonly connect: Connect;
  /** Whether HTTP/2 is spoken on the connection that was opened last. */
  http2: boolean;
  /** Whether the shadow is known to speak the protocol that is set: it has answered, or has chosen HTTP/2 in TLS. */
  proven: boolean;
  /** Milliseconds since any moment; never goes back. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

/** The open socket of a connection. */
interface Opened {
  readonly multiplexed: boolean;
  readonly endsAtMs: number;
}

/**
 * One connection to a target. If it was closed, the next request opens it again. It carries one request at a time with
 * HTTP/1, and many with HTTP/2.
 */
export class Connection {
  readonly #client: Client;
  readonly #shared: Shared;
  #opened: Opened | undefined;
  #connectMs: number | undefined;
  #connectError: unknown;
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  inFlight = 0;
  /** Number of its requests so far. */
  uses = 0;
  /** Whether the shadow has had the time to close it after its last answer, and has not. */
  settled = false;
  /** When the last of its requests ended. */
  idleSinceMs = Number.NEGATIVE_INFINITY;

  /** @param onLost called each time that the shadow closes the connection without having said so */
  constructor(shared: Shared, onLost: (connection: Connection) => void) {
    this.#shared = shared;
    this.#client = new Client(shared.origin, {
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMs,
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: maxHeadBytes,
      // The connector decides; undici then speaks what was negotiated.
      allowH2: true,
      h2Options: { maxConcurrentStreams: maxStreams, pingInterval: 0 },
      connect: (options, callback) => {
        const startedAtMs = shared.now();
        shared.connect(options, (...result) => {
          const [error, socket] = result;
          if (error) this.#connectError = error;
          else {
            const atMs = shared.now();
            const endsAtMs = atMs + leastAgeMs + shared.random() * (largestAgeMs - leastAgeMs);
            shared.http2 = isHttp2(socket);
            if (shared.http2 && "encrypted" in socket) shared.proven = true;
            this.#opened = { multiplexed: shared.http2, endsAtMs };
            this.#connectMs = atMs - startedAtMs;
          }
          callback(...result);
        });
      },
    });
    this.#client.on("disconnect", (_origin, _targets, error) => {
      this.#opened = undefined;
      if (error.code !== "UND_ERR_INFO") onLost(this);
    });
  }

  get open(): boolean {
    return this.#opened !== undefined;
  }

  get multiplexed(): boolean {
    return this.#opened?.multiplexed ?? this.#shared.http2;
  }

  /** Whether another request can be sent before one of those in flight is answered. */
  get hasRoom(): boolean {
    if (!this.multiplexed) return this.inFlight === 0;
    // Requests that undici holds back exceed what the shadow allows.
    return this.inFlight < maxStreams && !(this.open && this.#client.stats.pending > 0);
  }

  /** Whether it is so old that the target's name should be looked up again. */
  isOld(nowMs: number): boolean {
    return this.#opened !== undefined && nowMs >= this.#opened.endsAtMs;
  }

  /** Whether this error says that the connection could not be opened. */
  failedWith(error: unknown): boolean {
    return error === this.#connectError;
  }

  /** How long it took to open the connection, for the request that it was opened for; undefined for all others. */
  takeConnectMs(): number | undefined {
    const connectMs = this.#connectMs;
    this.#connectMs = undefined;
    return connectMs;
  }

  get proven(): boolean {
    return this.#shared.proven;
  }

  /** Notes that the shadow answered. */
  noteAnswer(): void {
    this.#answeredAtMs = this.#shared.now();
    this.#shared.proven = true;
  }

  /** Whether the shadow has answered on this connection since the given time. */
  hasAnswered(sinceMs: number): boolean {
    return this.#answeredAtMs >= sinceMs;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#client.dispatch(options, handler);
  }

  /** Resolves when the requests in flight have ended. */
  close(): Promise<void> {
    return this.#client.close();
  }

  destroy(): Promise<void> {
    return this.#client.destroy();
  }
}
