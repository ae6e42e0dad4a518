import type { Dispatcher } from "undici";
import type { TargetConfig } from "../config/config.ts";
import { Connections } from "./connections.ts";
import { createConnector } from "./connector.ts";
import { Exchange } from "./exchange.ts";
import type { OutboundRequest } from "./outbound.ts";
import { isIdempotent, type Outcome } from "./outcome.ts";

// nghttp2 sends no larger head, and its refusal would end the connection for all requests on it.
const maxHttp2HeadBytes = 64 * 1024;

/**
 * Sends requests to the origin of one target, whatever address a request contains. Follows no redirect, and repeats only
 * requests of which the shadow has seen nothing.
 *
 * The constructor throws if the target's CA file cannot be read.
 */
export class Transport {
  readonly #connections: Connections;
  readonly #timeoutMs: number;
  readonly #hostname: string;
  readonly #mayBeHttp2: boolean;
  readonly #inFlight = new Set<Exchange>();
  readonly #now: () => number;
  #limit: number;
  #closed = false;

  /** @param now milliseconds since any moment; never goes back */
  constructor(target: TargetConfig, now: () => number = () => performance.now(), random: () => number = Math.random) {
    const { url, protocol, concurrency, timeoutMs } = target;
    const http2 = protocol === "h2" || protocol === "h2c";
    const shared = { origin: url.origin, connect: createConnector(target), http2, proven: false, now, random };
    this.#connections = new Connections(shared, concurrency);
    this.#now = now;
    this.#timeoutMs = timeoutMs;
    this.#hostname = url.hostname;
    this.#mayBeHttp2 = protocol !== "http1";
    this.#limit = concurrency;
  }

  /** Changes the number of connections. In-flight requests finish on their old connections. */
  resize(connections: number): void {
    if (connections === this.#limit) return;
    this.#limit = connections;
    this.#connections.resize(connections);
  }

  /** Never rejects: a network error is an outcome. */
  send(request: OutboundRequest): Promise<Outcome> {
    if (this.#closed) return Promise.resolve({ kind: "undelivered", reason: "the transport is closed", away: false });
    if (this.#mayBeHttp2 && headBytesOf(request) > maxHttp2HeadBytes) {
      return Promise.resolve({ kind: "unsendable", reason: "its head is larger than 64 KiB, the limit with HTTP/2" });
    }
    return new Promise((resolve) => {
      const settle = (outcome: Outcome) => {
        this.#inFlight.delete(exchange);
        resolve(outcome);
      };
      const exchange = new Exchange(settle, this.#timeoutMs, (left) => this.#connections.leave(left), this.#now);
      this.#inFlight.add(exchange);
      this.#connections.send({ options: this.#toOptions(request), exchange, idempotent: isIdempotent(request.method) });
    });
  }

  /** Closes all connections; requests that are still in flight resolve as stopped. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const exchange of this.#inFlight) exchange.stop();
    await this.#connections.destroy();
  }

  #toOptions({ method, path, headers, body }: OutboundRequest): Dispatcher.DispatchOptions {
    return {
      method: method as Dispatcher.HttpMethod,
      path,
      headers: headers as string[],
      body,
      // Otherwise undici takes it from the Host header. That may be the captured one, and each new value would reconnect.
      servername: this.#hostname,
      // Closes the connection after a HEAD: some servers send a body, which would be read as the next answer. Without this
      // option, undici also closes it after a GET or DELETE with a body.
      reset: method === "HEAD",
    } as Dispatcher.DispatchOptions;
  }
}

/** An upper bound of a head in HTTP/2, as nghttp2 calculates it: 12 bytes for each field, with what the transport adds. */
function headBytesOf({ path, headers }: OutboundRequest): number {
  let bytes = 200 + path.length;
  for (let i = 0; i < headers.length; i += 2) bytes += 12 + headers[i].length + headers[i + 1].length;
  return bytes;
}
