import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../relay/log/log.ts";
import { Outage } from "../relay/log/outage.ts";
import { StateError } from "../relay/state/port.ts";
import type { Invocation } from "./batch.ts";

const retryMs = 1_000;

/** Whether the state store answers, as one process sees it. Logs each change. */
export function createStateOutage(log: Logger): Outage {
  return new Outage(log, {
    down: ["state-down", "the state store does not answer: nothing is sent, and packs wait until it does"],
    up: ["state-up", "the state store answers again"],
  });
}

/** Retries work while the state store does not answer. */
export class StatePatience {
  readonly #what: string;
  readonly #outage: Outage;
  readonly #count: () => void;

  /**
   * @param what for the log: the part that waits, such as `fan-out` or a target's name
   * @param count called for each failure
   */
  constructor(what: string, outage: Outage, count: () => void = () => {}) {
    this.#what = what;
    this.#outage = outage;
    this.#count = count;
  }

  /**
   * Runs `work`, which uses the state store, or resolves with false if it did not have to. While the store does not answer, a
   * patient invocation repeats it each second. Rejects with `StateError` if the invocation is not patient or its signal is
   * aborted.
   */
  async run<T>(invocation: Required<Invocation>, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const result = await work();
        if (result !== false) this.#outage.recover();
        return result;
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        this.report(error);
        if (!invocation.patient || invocation.signal.aborted) throw error;
        await sleep(retryMs, undefined, { signal: invocation.signal }).catch(() => {});
      }
    }
  }

  report(error: Error): void {
    this.#count();
    this.#outage.fail(error.message, { fields: { what: this.#what } });
  }
}
