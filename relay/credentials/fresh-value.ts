import { setTimeout as sleep } from "node:timers/promises";
import { orAborted } from "../concurrency/or-aborted.ts";
import { createForwardClock } from "../process/machine-clock.ts";

/** A value and its lifetime; Infinity if it does not expire. */
export interface Obtained<T> {
  readonly value: T;
  readonly holdsMs: number;
}

export interface FreshValueOptions<T> {
  /** Obtains a new value. Must settle at some time: its caller sets no timeout. */
  readonly obtain: () => Promise<Obtained<T>>;
  /** Called after each failure. */
  readonly onFailure: (error: Error) => void;
  /** Called after the first success that follows failures. */
  readonly onRecovery: () => void;
  /** In milliseconds. Default: a clock that is never set back, and goes on while the machine is suspended. */
  readonly now?: () => number;
}

// A value is renewed this long before it expires, or after 80% of its lifetime if that is later.
const renewAheadMs = 60_000;
const firstRetryMs = 1_000;
const maxRetryMs = 60_000;
// A target that refuses every value causes at most one renewal in this time.
const renewForRefusalEveryMs = 10_000;

/**
 * Keeps a value that expires, such as a token. Renews it shortly before it expires and returns the old value meanwhile.
 * Runs one `obtain` at a time for all callers. Retries a failed `obtain` after 1 s, 2 s, 4 s … 60 s.
 */
export class FreshValue<T> {
  readonly #options: FreshValueOptions<T>;
  readonly #now: () => number;
  #value: T | undefined;
  #renewAtMs = Number.NEGATIVE_INFINITY;
  #endsAtMs = Number.NEGATIVE_INFINITY;
  #refusedAtMs = Number.NEGATIVE_INFINITY;
  #obtaining: Promise<void> | undefined;
  #failures = 0;
  #retryAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: FreshValueOptions<T>) {
    this.#options = options;
    this.#now = options.now ?? createForwardClock();
  }

  /** The value; undefined if there is none or it has expired. Starts a renewal if one is due. */
  get current(): T | undefined {
    const nowMs = this.#now();
    if (nowMs >= this.#renewAtMs) this.#renew(nowMs);
    return nowMs < this.#endsAtMs ? this.#value : undefined;
  }

  /**
   * Waits for a value. If `patient` is false, resolves with undefined if the next try fails or is not due yet. Rejects
   * with the signal's reason if it is aborted first.
   */
  async get(signal: AbortSignal, patient: boolean): Promise<T | undefined> {
    for (;;) {
      signal.throwIfAborted();
      const value = this.current;
      if (value !== undefined) return value;
      if (this.#obtaining) await orAborted(this.#obtaining, signal);
      else if (patient)
        await sleep(Math.min(maxRetryMs, Math.max(1, this.#retryAtMs - this.#now())), undefined, { signal });
      if (!patient) return this.current;
    }
  }

  /**
   * Reports that the target refused a value, and renews it, at most every ten seconds. Returns true if another value is
   * available or being obtained.
   */
  refuse(value: T): boolean {
    if (this.#value !== undefined && value !== this.#value) return true;
    const nowMs = this.#now();
    if (this.#value === undefined || this.#endsAtMs <= nowMs) return true;
    const sinceMs = nowMs - this.#refusedAtMs;
    // Below 0 if the clock was set back.
    if (sinceMs >= 0 && sinceMs < renewForRefusalEveryMs) return false;
    this.#refusedAtMs = nowMs;
    this.#endsAtMs = nowMs;
    this.#renew(nowMs);
    return true;
  }

  #renew(nowMs: number): void {
    // Larger only after the clock was set back.
    if (this.#retryAtMs > nowMs + maxRetryMs) this.#retryAtMs = nowMs;
    if (this.#obtaining || nowMs < this.#retryAtMs) return;
    this.#obtaining = this.#obtain().finally(() => {
      this.#obtaining = undefined;
    });
  }

  /** Never rejects. */
  async #obtain(): Promise<void> {
    const { obtain, onFailure, onRecovery } = this.#options;
    try {
      const { value, holdsMs } = await obtain();
      const nowMs = this.#now();
      this.#value = value;
      this.#endsAtMs = nowMs + holdsMs;
      this.#renewAtMs = nowMs + Math.max(holdsMs * 0.8, holdsMs - renewAheadMs);
      if (this.#failures > 0) onRecovery();
      this.#failures = 0;
    } catch (error) {
      this.#retryAtMs = this.#now() + Math.min(maxRetryMs, firstRetryMs * 2 ** Math.min(this.#failures, 20));
      this.#failures++;
      onFailure(error as Error);
    }
  }
}
