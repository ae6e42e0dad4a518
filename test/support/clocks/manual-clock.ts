import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../../../relay/clock.ts";

interface Sleeper {
  readonly wakeUs: number;
  readonly wake: () => void;
}

/** A clock that stands still until the test advances it. */
export class ManualClock implements Clock {
  #nowUs: number;
  readonly #latenessUs: () => number;
  readonly #sleepers = new Set<Sleeper>();

  /** @param latenessUs by how much the next sleeper oversleeps, in whole µs like all times here */
  constructor(nowUs: number, latenessUs: () => number = () => 0) {
    this.#nowUs = nowUs;
    this.#latenessUs = latenessUs;
  }

  nowUs(): number {
    return this.#nowUs;
  }

  async sleepUntil(atUs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (atUs <= this.#nowUs) return;
    await new Promise<void>((resolve, reject) => {
      const sleeper: Sleeper = {
        // Clocks have whole microseconds.
        wakeUs: Math.ceil(atUs) + this.#latenessUs(),
        wake: () => {
          this.#sleepers.delete(sleeper);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal.addEventListener("abort", () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      });
    });
  }

  /** Advances the time to `atUs` and wakes each sleeper at its time. */
  async runUntil(atUs: number): Promise<void> {
    for (;;) {
      // Runs all code that is awake until it sleeps again: it waits for nothing but this clock.
      await turn();
      const [next] = [...this.#sleepers].sort((a, b) => a.wakeUs - b.wakeUs);
      if (!next || next.wakeUs > atUs) break;
      this.#nowUs = Math.max(this.#nowUs, next.wakeUs);
      next.wake();
    }
    this.#nowUs = atUs;
  }
}
