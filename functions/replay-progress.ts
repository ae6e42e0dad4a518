import type { LiveTarget } from "../relay/replay/live-target.ts";
import type { MetricLine } from "./metric-line.ts";

// At a slower rate, a whole invocation may wait for one slot.
const slowestPerSecond = 1 / 60;

/** Tells CloudWatch whether a target's requests get on, so that an alarm can ring if packs only go round and round. */
export class ReplayProgress {
  readonly #live: LiveTarget;
  readonly #metrics: Pick<MetricLine, "noteProgress"> | undefined;

  /** @param metrics without them, nothing is noted */
  constructor(live: LiveTarget, metrics: Pick<MetricLine, "noteProgress"> | undefined) {
    this.#live = live;
    this.#metrics = metrics;
  }

  /** The ledger has stored fates of requests. */
  settled(): void {
    this.#metrics?.noteProgress(this.#live.config.name, true);
  }

  /**
   * Requests go back to the queue. Says nothing if they are meant to wait: the target is paused, outside its window, its breaker
   * is open, or its rate is so low that an invocation may end before the next slot.
   *
   * @param outOfTime whether the invocation had to end before they could be sent
   */
  putBack(outOfTime: boolean): void {
    const { held, ratePerSecond, config } = this.#live;
    if (held !== undefined || (outOfTime && ratePerSecond < slowestPerSecond)) return;
    this.#metrics?.noteProgress(config.name, false);
  }
}
