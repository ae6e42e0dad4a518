import { monitorEventLoopDelay } from "node:perf_hooks";

interface DelaySeconds {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

// Delays that are shorter may be missed; each look costs a few microseconds.
const resolutionMs = 10;

/** How late the event loop gets to its timers: for so long, HAProxy may have waited for an ACK. */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#histogram.enable();
  }

  /** Since the last call. */
  take(): DelaySeconds {
    const histogram = this.#histogram;
    const delays =
      histogram.count === 0
        ? { p50: 0, p99: 0, max: 0 }
        : {
            p50: toDelaySeconds(histogram.percentile(50)),
            p99: toDelaySeconds(histogram.percentile(99)),
            max: toDelaySeconds(histogram.max),
          };
    histogram.reset();
    return delays;
  }

  stop(): void {
    this.#histogram.disable();
  }
}

// What is measured is the time between two looks.
function toDelaySeconds(ns: number): number {
  return Math.max(0, ns / 1e6 - resolutionMs) / 1_000;
}
