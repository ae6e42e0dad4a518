import { monitorEventLoopDelay } from "node:perf_hooks";

// Stalls that are shorter may be missed.
const resolutionMs = 5;

/** Measures for how long this process stands still: what comes meanwhile is found all at once afterwards. */
export class StallWatch {
  readonly #histogram = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#histogram.enable();
  }

  /** Ends the watch; returns the longest stall since its start in ms. */
  stop(): number {
    this.#histogram.disable();
    // What is measured is the time between two looks.
    return Math.max(0, this.#histogram.max / 1_000_000 - resolutionMs);
  }
}
