import { monitorEventLoopDelay } from "node:perf_hooks";

// Shorter stalls may be missed.
const resolutionMs = 5;

/** Measures how long this process stalls: it reads requests that arrive during a stall all at once after it. */
export class StallWatch {
  readonly #histogram = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#histogram.enable();
  }

  /** Ends the watch; returns the longest stall since its start, in ms. */
  stop(): number {
    this.#histogram.disable();
    // The histogram has the time between two ticks, which includes the tick interval.
    return Math.max(0, this.#histogram.max / 1_000_000 - resolutionMs);
  }
}
