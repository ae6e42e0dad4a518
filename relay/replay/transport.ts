import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { buildConnector, type Dispatcher, Pool } from "undici";
import type { TargetConfig } from "../config/config.ts";
import type { OutboundRequest } from "./outbound.ts";
import { type Outcome, parseRetryAfterMs } from "./outcome.ts";

// How much of an answer is read. Its body is not used, so reading more would only cost the shadow and this process.
const maxAnswerBytes = 1024 * 1024;
// Shorter than the keep-alive timeout of common servers, so that no request is sent on a connection that the server closes.
const keepAliveMs = 4_000;
const maxRetryAfterMs = 900_000;

/**
 * Sends requests to the origin of one target, whatever address a request contains. Follows no redirect, retries nothing.
 *
 * The constructor throws if the target's CA file cannot be read.
 */
export class Transport {
  #pool: Pool;
  #connections: number;
  readonly #retired = new Set<Pool>();
  readonly #origin: string;
  readonly #poolOptions: Pool.Options;
  readonly #timeoutMs: number;
  readonly #hostname: string;
  readonly #inFlight = new Set<Exchange>();
  /** How long it took to open the connections that are open and not used yet. */
  readonly #connectsMs: number[] = [];

  constructor(target: TargetConfig) {
    const { ca, verify, serverName } = target.tls;
    const { hostname } = target.url;
    this.#timeoutMs = target.timeoutMs;
    this.#hostname = hostname;
    const servername = serverName ?? (isIP(hostname.replace(/^\[|\]$/g, "")) === 0 ? hostname : "");
    const connect = buildConnector({
      timeout: target.timeoutMs,
      allowH2: false,
      rejectUnauthorized: verify,
      ...(ca !== undefined && { ca: readFileSync(ca) }),
    });
    this.#origin = target.url.origin;
    this.#poolOptions = {
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMs,
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: maxAnswerBytes,
      allowH2: false,
      // `servername` is empty for an IP address: then the certificate must name the address.
      connect: (options, callback) => {
        const startedAtMs = performance.now();
        connect({ ...options, servername }, (...result) => {
          if (result[0] === null) this.#connectsMs.push(performance.now() - startedAtMs);
          callback(...result);
        });
      },
    };
    this.#connections = target.concurrency;
    this.#pool = this.#openPool();
  }

  /** Changes the number of connections. In-flight requests finish on their old connections. */
  resize(connections: number): void {
    if (connections === this.#connections) return;
    this.#connections = connections;
    const retired = this.#pool;
    this.#retired.add(retired);
    retired.close().then(
      () => this.#retired.delete(retired),
      () => {},
    );
    this.#pool = this.#openPool();
  }

  /** Never rejects: a network error is an outcome. */
  send(request: OutboundRequest): Promise<Outcome> {
    return new Promise((resolve) => {
      const settle = (outcome: Outcome) => {
        this.#inFlight.delete(exchange);
        resolve(outcome);
      };
      const exchange = new Exchange(settle, this.#timeoutMs, this.#connectsMs);
      this.#inFlight.add(exchange);
      this.#pool.dispatch(
        {
          method: request.method as Dispatcher.HttpMethod,
          path: request.path,
          headers: request.headers as string[],
          body: request.body,
          // Otherwise undici takes it from the Host header. That may be the captured one, and each new value would reconnect.
          servername: this.#hostname,
          // Otherwise undici closes the connection after a GET or DELETE with a body.
          reset: false,
        } as Dispatcher.DispatchOptions,
        exchange,
      );
    });
  }

  /** Closes all connections; requests that are still in flight resolve as stopped. */
  async close(): Promise<void> {
    for (const exchange of this.#inFlight) exchange.stop();
    await Promise.all([this.#pool, ...this.#retired].map((pool) => pool.destroy()));
  }

  #openPool(): Pool {
    return new Pool(this.#origin, { ...this.#poolOptions, connections: this.#connections });
  }
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #timer: NodeJS.Timeout;
  #resolve: ((outcome: Outcome) => void) | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #answer: Outcome | undefined;
  #answerBytes = 0;
  readonly #connectsMs: number[];
  readonly #startedAtMs = performance.now();
  #writtenAtMs = 0;
  #firstByteMs = 0;
  #connectMs: number | undefined;

  /** @param connectsMs times that new connections took to open; the exchange removes the time of its own connection */
  constructor(resolve: (outcome: Outcome) => void, timeoutMs: number, connectsMs: number[]) {
    this.#resolve = resolve;
    this.#connectsMs = connectsMs;
    this.#timer = setTimeout(() => this.#timeOut(timeoutMs), timeoutMs);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#writtenAtMs = performance.now();
    // A connection is opened for a request, and that request is the first one written to it.
    this.#connectMs = this.#connectsMs.pop();
    // The request timed out before it had a connection.
    if (!this.#resolve) controller.abort(new Error("timed out"));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    this.#firstByteMs = performance.now() - this.#writtenAtMs;
    const retryAfter = headers["retry-after"];
    if ((status === 429 || status === 503) && typeof retryAfter === "string") {
      const retryAfterMs = Math.min(parseRetryAfterMs(retryAfter, Date.now()) ?? 0, maxRetryAfterMs);
      this.#answer = { kind: "undelivered", reason: `the shadow answered ${status} with Retry-After`, retryAfterMs };
    } else {
      this.#answer = { kind: "answered", status };
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#answerBytes += chunk.length;
    if (this.#answerBytes > maxAnswerBytes) controller.abort(new Error("enough of the answer was read"));
  }

  onResponseEnd(): void {
    this.#settle(this.#answer ?? { kind: "undelivered", reason: "the shadow closed the connection without an answer" });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (!this.#answer) this.#firstByteMs = performance.now() - this.#writtenAtMs;
    // An answer whose body was cut off is still an answer.
    this.#settle(this.#answer ?? toOutcome(error));
  }

  stop(): void {
    const sent = this.#controller !== undefined;
    this.#settle(this.#answer ?? { kind: "stopped", sent, reason: "no answer before the host stopped" });
  }

  #timeOut(timeoutMs: number): void {
    const outcome: Outcome = this.#controller
      ? { kind: "timedOut", reason: `no answer within ${timeoutMs} ms` }
      : { kind: "undelivered", reason: `no connection within ${timeoutMs} ms` };
    this.#settle(this.#answer ?? outcome);
    this.#controller?.abort(new Error("timed out"));
  }

  #settle(outcome: Outcome): void {
    clearTimeout(this.#timer);
    this.#resolve?.(outcome.kind === "answered" ? this.#withTimes(outcome.status) : outcome);
    this.#resolve = undefined;
  }

  #withTimes(status: number): Outcome {
    const totalMs = performance.now() - this.#startedAtMs;
    const connectMs = this.#connectMs;
    const times = { firstByteMs: this.#firstByteMs, totalMs };
    return { kind: "answered", status, times: connectMs === undefined ? times : { ...times, connectMs } };
  }
}

// undici reports these statuses as errors of the shadow and closes the connection. They count as answers.
const refusedAnswers: ReadonlyMap<string, number> = new Map([
  ["bad response", 100],
  ["bad upgrade", 101],
]);

function toOutcome(error: Error & { code?: string }): Outcome {
  const status = error.code === "UND_ERR_SOCKET" ? refusedAnswers.get(error.message) : undefined;
  if (status !== undefined) return { kind: "answered", status };
  const message = toMeaning(error.message);
  const reason = error.code !== undefined && !message.includes(error.code) ? `${error.code}: ${message}` : message;
  const unsendable = error.code === "UND_ERR_INVALID_ARG" || error.code === "UND_ERR_NOT_SUPPORTED";
  return { kind: unsendable ? "unsendable" : "undelivered", reason: reason || error.name };
}

// OpenSSL puts an address, a number and a source file around the message. They are removed, because they differ each time
// and the dead letters are grouped by reason.
function toMeaning(message: string): string {
  const openssl = /[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:\n]+)/.exec(message);
  return openssl ? openssl[1] : message.split("\n", 1)[0];
}
