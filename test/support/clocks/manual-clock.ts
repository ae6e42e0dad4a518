import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../../../relay/clock.ts";

interface Sleeper {
  readonly wakeUs: number;
  /** Sleepers that wake at the same time wake in the order of their calls. */
  readonly order: number;
  /** Undefined if the sleep was aborted. */
  wake: (() => void) | undefined;
}

/** A clock that stands still until the test advances it: it jumps from one sleeper to the next. */
export class ManualClock implements Clock {
  #nowUs: number;
  readonly #latenessUs: () => number;
  #calls = 0;
  /** A binary heap: the first is the next to wake. */
  readonly #sleepers: Sleeper[] = [];

  /** @param latenessUs by how much the next sleeper oversleeps, in whole µs like all times here */
  constructor(nowUs: number, latenessUs: () => number = () => 0) {
    this.#nowUs = nowUs;
    this.#latenessUs = latenessUs;
  }

  nowUs(): number {
    return this.#nowUs;
  }

  async sleepUntil(atUs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (atUs <= this.#nowUs) return;
    await new Promise<void>((resolve, reject) => {
      const stop = () => {
        sleeper.wake = undefined;
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      };
      // Clocks have whole microseconds.
      const sleeper: Sleeper = { wakeUs: Math.ceil(atUs) + this.#latenessUs(), order: this.#calls++, wake };
      this.#push(sleeper);
      signal?.addEventListener("abort", stop, { once: true });
    });
  }

  /** Advances the time to `atUs` and wakes each sleeper at its time. */
  async runUntil(atUs: number): Promise<void> {
    for (;;) {
      // Runs all code that is awake until it sleeps again: it waits for nothing but this clock.
      await turn();
      const [next] = this.#sleepers;
      if (!next || next.wakeUs > atUs) break;
      this.#nowUs = Math.max(this.#nowUs, next.wakeUs);
      while (this.#sleepers[0]?.wakeUs === next.wakeUs) this.#pop().wake?.();
    }
    this.#nowUs = atUs;
  }

  #push(sleeper: Sleeper): void {
    const heap = this.#sleepers;
    let at = heap.push(sleeper) - 1;
    for (let above = (at - 1) >> 1; at > 0 && isBefore(sleeper, heap[above]); above = (at - 1) >> 1) {
      heap[at] = heap[above];
      at = above;
    }
    heap[at] = sleeper;
  }

  #pop(): Sleeper {
    const heap = this.#sleepers;
    const [first] = heap;
    const last = heap.pop() as Sleeper;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    if (heap.length > 0) heap[at] = last;
    return first;
  }
}

function isBefore(a: Sleeper, b: Sleeper): boolean {
  return a.wakeUs < b.wakeUs || (a.wakeUs === b.wakeUs && a.order < b.order);
}
