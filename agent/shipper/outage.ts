import { type Logger, Throttle } from "../../relay/log/log.ts";

interface OutageTexts {
  /** Event and text of the lines, such as `queue-down`. */
  readonly down: readonly [event: string, text: string];
  readonly up: readonly [event: string, text: string];
}

/**
 * Something that fails and recovers by itself, such as the queue: why it fails at the moment, how often it has, and a log
 * that tells each kind of failure at once and then once a minute, however often it is tried again.
 */
export class Outage<Code extends string> {
  /** Failures since the start, by code; all codes are there from the beginning. */
  readonly failures: ReadonlyMap<Code, number>;
  readonly #failures: Map<Code, number>;
  readonly #throttles: ReadonlyMap<Code, Throttle>;
  readonly #texts: OutageTexts;
  readonly #log: Logger;
  #problem: string | undefined;
  // Only what the log has told is taken back in it: else one that comes and goes each second would fill it.
  #told = false;

  constructor(codes: readonly Code[], texts: OutageTexts, log: Logger) {
    this.#failures = new Map(codes.map((code) => [code, 0]));
    this.failures = this.#failures;
    this.#throttles = new Map(codes.map((code) => [code, new Throttle()]));
    this.#texts = texts;
    this.#log = log;
  }

  /** Why it fails at the moment, or undefined. */
  get problem(): string | undefined {
    return this.#problem;
  }

  fail(code: Code, reason: string, nowMs: number): void {
    this.#problem = reason;
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1);
    const [event, text] = this.#texts.down;
    this.#throttles.get(code)?.run(nowMs, (heldBack) => {
      this.#told = true;
      this.#log.error({ event, code, reason, ...(heldBack > 0 && { heldBack }) }, text);
    });
  }

  /** Nothing is known about it any more, good or bad; says nothing. */
  forget(): void {
    this.#problem = undefined;
  }

  recover(): void {
    this.forget();
    if (!this.#told) return;
    this.#told = false;
    const [event, text] = this.#texts.up;
    this.#log.info({ event }, text);
  }
}
