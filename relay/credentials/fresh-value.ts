import { setTimeout as sleep } from "node:timers/promises";
import { orAborted } from "../concurrency/or-aborted.ts";

/** What was obtained, and how long it holds; Infinity where it does not end. */
export interface Obtained<T> {
  readonly value: T;
  readonly holdsMs: number;
}

export interface FreshValueOptions<T> {
  /** Obtains a new one. May take its time, but must end. */
  readonly obtain: () => Promise<Obtained<T>>;
  /** Told of each failure, and of the first success after some. */
  readonly onFailure: (error: Error) => void;
  readonly onRecovery: () => void;
  /** Milliseconds since 1970: other clocks stand still while a machine is suspended. */
  readonly now?: () => number;
}

// A new one is asked for so long before the end, or after four fifths of the time where that is later.
const renewAheadMs = 60_000;
const firstRetryMs = 1_000;
const maxRetryMs = 60_000;
// Who refuses everything must not have a new one made for every request.
const renewForRefusalEveryMs = 10_000;

/**
 * Keeps a value that expires, such as a token. It is renewed shortly before its end while the old one is still used, and
 * obtained by one call at a time, however many wait for it. Where that fails it is tried again after 1 s, 2 s, 4 s … 60 s.
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
    this.#now = options.now ?? Date.now;
  }

  /** The value; undefined where there is none that still holds. */
  get current(): T | undefined {
    const nowMs = this.#now();
    if (nowMs >= this.#renewAtMs) this.#renew(nowMs);
    return nowMs < this.#endsAtMs ? this.#value : undefined;
  }

  /**
   * Waits until there is a value. Resolves with undefined where the next try failed, or must not be made yet, and `patient`
   * is false. Rejects with the signal's reason where that is raised first.
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
   * Takes note that a value was refused by who it is for, and asks for a new one, every ten seconds at most. True where there
   * is, or will be, another one than that.
   */
  refuse(value: T): boolean {
    if (this.#value !== undefined && value !== this.#value) return true;
    const nowMs = this.#now();
    if (this.#value === undefined || this.#endsAtMs <= nowMs) return true;
    const sinceMs = nowMs - this.#refusedAtMs;
    // Below 0 where the clock was set back.
    if (sinceMs >= 0 && sinceMs < renewForRefusalEveryMs) return false;
    this.#refusedAtMs = nowMs;
    this.#endsAtMs = nowMs;
    this.#renew(nowMs);
    return true;
  }

  #renew(nowMs: number): void {
    // Farther only where the clock was set back.
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
