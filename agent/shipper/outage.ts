import { type Logger, Throttle } from "../../relay/log/log.ts";

interface OutageTexts {
  /** Event and message of the log lines, such as `queue-down`. */
  readonly down: readonly [event: string, text: string];
  readonly up: readonly [event: string, text: string];
}

/**
 * The state of something that fails and recovers by itself, such as the queue: why it fails now, and how often it has
 * failed. Logs each kind of failure at once and then at most once a minute, however often it is retried.
 */
export class Outage<Code extends string> {
  /** Failures since the start, by code; every code is present from the start. */
  readonly failures: ReadonlyMap<Code, number>;
  readonly #failures: Map<Code, number>;
  readonly #throttles: ReadonlyMap<Code, Throttle>;
  readonly #texts: OutageTexts;
  readonly #log: Logger;
  #problem: string | undefined;
  // A recovery is logged only if its outage was: an outage that begins and ends each second must not fill the log.
  #logged = false;

  constructor(codes: readonly Code[], texts: OutageTexts, log: Logger) {
    this.#failures = new Map(codes.map((code) => [code, 0]));
    this.failures = this.#failures;
    this.#throttles = new Map(codes.map((code) => [code, new Throttle()]));
    this.#texts = texts;
    this.#log = log;
  }

  /** Why it fails now; undefined if it works. */
  get problem(): string | undefined {
    return this.#problem;
  }

  fail(code: Code, reason: string, nowMs: number): void {
    this.#problem = reason;
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1);
    const [event, text] = this.#texts.down;
    this.#throttles.get(code)?.run(nowMs, (heldBack) => {
      this.#logged = true;
      this.#log.error({ event, code, reason, ...(heldBack > 0 && { heldBack }) }, text);
    });
  }

  /** Forgets the problem without a log line: from now on, the state is unknown. */
  forget(): void {
    this.#problem = undefined;
  }

  recover(): void {
    this.forget();
    if (!this.#logged) return;
    this.#logged = false;
    const [event, text] = this.#texts.up;
    this.#log.info({ event }, text);
  }
}
