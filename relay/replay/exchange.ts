import type { Dispatcher } from "undici";
import type { Connection } from "./connection.ts";
import { toOutcome } from "./network-error.ts";
import { type Outcome, parseRetryAfterMs } from "./outcome.ts";

// How much of an answer is read. Its body is not used, so reading more would only cost the shadow and this process.
const maxAnswerBytes = 1024 * 1024;
const maxRetryAfterMs = 900_000;

/** One request and its answer. undici calls its methods. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #timer: NodeJS.Timeout;
  readonly #leave: (connection: Connection) => void;
  #resolve: ((outcome: Outcome) => void) | undefined;
  #end: (() => void) | undefined;
  #connection: Connection | undefined;
  /** Set once undici writes the request. */
  #controller: Dispatcher.DispatchController | undefined;
  /** Whether bytes came back. */
  #answering = false;
  #answer: Outcome | undefined;
  #answerBytes = 0;
  readonly #now: () => number;
  readonly #startedAtMs: number;
  #writtenAtMs = Number.POSITIVE_INFINITY;
  #firstByteMs = 0;
  #connectMs: number | undefined;

  /**
   * @param leave called with a connection that should get no more requests: it takes none, or nothing was answered on it
   * while this request waited
   * @param now milliseconds since any moment
   */
  constructor(
    resolve: (outcome: Outcome) => void,
    timeoutMs: number,
    leave: (connection: Connection) => void,
    now: () => number,
  ) {
    this.#resolve = resolve;
    this.#leave = leave;
    this.#now = now;
    this.#startedAtMs = now();
    this.#timer = setTimeout(() => this.#timeOut(timeoutMs), timeoutMs);
  }

  /** Whether it has an outcome already. */
  get over(): boolean {
    return this.#resolve === undefined;
  }

  /** @param end called once the connection is done with the exchange, which may be long after its outcome */
  begin(connection: Connection, end: () => void): void {
    this.#connection = connection;
    this.#end = end;
  }

  /** Called again if undici repeats a request that the shadow refused to look at (HTTP/2's REFUSED_STREAM). */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#writtenAtMs = this.#now();
    this.#connectMs ??= this.#connection?.takeConnectMs();
    // The request timed out before it had a connection.
    if (!this.#resolve) controller.abort(new Error("timed out"));
  }

  onResponseStarted(): void {
    this.#answering = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    this.#connection?.noteAnswer();
    this.#firstByteMs = this.#now() - this.#writtenAtMs;
    const [retryAfter] = [headers["retry-after"]].flat();
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

  /** The trailers of the answer have been read by now. */
  onResponseEnd(): void {
    this.#settle(this.#answer ?? { kind: "closed", reason: "the shadow ended its answer without a status" });
    this.#finish();
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (!this.#answer) this.#firstByteMs = this.#now() - this.#writtenAtMs;
    // An answer whose body was cut off is still an answer.
    this.#settle(
      this.#answer ??
        toOutcome(error, {
          written: this.#controller !== undefined,
          answering: this.#answering,
          connecting: this.#connection?.failedWith(error) === true,
          unproven: this.#connection?.proven !== true,
        }),
    );
    this.#finish();
  }

  stop(): void {
    const sent = this.#controller !== undefined;
    this.#settle(this.#answer ?? { kind: "stopped", sent, reason: "no answer before the host stopped" });
  }

  #timeOut(timeoutMs: number): void {
    const connection = this.#connection;
    const outcome: Outcome = this.#controller
      ? { kind: "timedOut", reason: `no answer within ${timeoutMs} ms` }
      : { kind: "undelivered", reason: `no connection within ${timeoutMs} ms`, away: connection?.open === false };
    this.#settle(this.#answer ?? outcome);
    if (connection?.open && !connection.hasAnswered(this.#writtenAtMs)) this.#leave(connection);
    if (this.#controller) this.#controller.abort(new Error("timed out"));
    else this.#finish();
  }

  #finish(): void {
    this.#end?.();
    this.#end = undefined;
  }

  #settle(outcome: Outcome): void {
    clearTimeout(this.#timer);
    const timed = outcome.kind === "answered" || outcome.kind === "malformed";
    this.#resolve?.(timed ? { ...outcome, times: this.#times() } : outcome);
    this.#resolve = undefined;
  }

  #times() {
    const connectMs = this.#connectMs;
    const times = { firstByteMs: this.#firstByteMs, totalMs: this.#now() - this.#startedAtMs };
    return connectMs === undefined ? times : { ...times, connectMs };
  }
}
