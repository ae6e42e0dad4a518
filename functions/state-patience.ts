import { setTimeout as sleep } from "node:timers/promises";
import { type Logger, Throttle } from "../relay/log/log.ts";
import { StateError } from "../relay/state/port.ts";
import type { Invocation } from "./batch.ts";

const retryMs = 1_000;

/** Retries work while the state store does not answer, and logs that once a minute. */
export class StatePatience {
  readonly #log: Logger;
  readonly #what: string;
  readonly #throttle = new Throttle();

  /** @param what for the log: the part that waits, such as `fan-out` or a target's name */
  constructor(what: string, log: Logger) {
    this.#what = what;
    this.#log = log;
  }

  /**
   * Runs `work`, which uses the state store. While the store does not answer, a patient invocation repeats it each second.
   * Rejects with `StateError` if the invocation is not patient or its signal is aborted.
   */
  async run<T>(invocation: Required<Invocation>, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        this.report(error);
        if (!invocation.patient || invocation.signal.aborted) throw error;
        await sleep(retryMs, undefined, { signal: invocation.signal }).catch(() => {});
      }
    }
  }

  report(error: Error): void {
    this.#throttle.run(Date.now(), (heldBack) =>
      this.#log.error(
        { event: "state-down", what: this.#what, reason: error.message, heldBack },
        "the state store does not answer: nothing is sent, and packs wait until it does",
      ),
    );
  }
}
