import { setTimeout as sleep } from "node:timers/promises";
import { bounds } from "./config/bounds.ts";

/** The wall clock in microseconds. Processes share slots, so all of them must use the same clock. */
export interface Clock {
  nowUs(): number;
  /**
   * Resolves at `atUs`, or later if the process is busy; earlier only if the clock is set back during the sleep. Rejects if
   * the signal is aborted. Without a signal, the sleep does not keep the process alive.
   */
  sleepUntil(atUs: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowUs: () => Date.now() * 1_000,
  async sleepUntil(atUs, signal) {
    const firstUs = atUs - Date.now() * 1_000;
    // Ends as well if more time is left than at the start: the clock was set back, possibly by hours.
    for (let leftUs = firstUs; leftUs > 0 && leftUs <= firstUs; leftUs = atUs - Date.now() * 1_000) {
      await sleep(
        Math.min(Math.ceil(leftUs / 1_000), bounds.timerMs.most),
        undefined,
        signal ? { signal } : { ref: false },
      );
    }
  },
};
