import { monitorEventLoopDelay } from "node:perf_hooks";

interface DelaySeconds {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

// Shorter delays may be missed. Each sample costs a few microseconds.
const resolutionMs = 10;

/** How late the event loop runs its timers: HAProxy may have waited that long for an ACK. */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#histogram.enable();
  }

  /** Returns the delays since the last call. */
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

// The histogram contains the times between two samples, which include the resolution.
function toDelaySeconds(ns: number): number {
  return Math.max(0, ns / 1e6 - resolutionMs) / 1_000;
}
