import { setTimeout as sleep } from "node:timers/promises";
import { type Logger, Throttle } from "../relay/log/log.ts";
import { StateError } from "../relay/state/port.ts";
import type { Invocation } from "./batch.ts";

const retryMs = 1_000;

/** Waits for a state store that does not answer, and says so once a minute. */
export class StatePatience {
  readonly #log: Logger;
  readonly #what: string;
  readonly #throttle = new Throttle();

  /** @param what for the log: what waits meanwhile */
  constructor(what: string, log: Logger) {
    this.#what = what;
    this.#log = log;
  }

  /**
   * Does work with the state; where the state does not answer and the invocation is patient, again and again until it does.
   * Rejects with `StateError` where it is not patient, or has to end.
   */
  async run<T>(invocation: Required<Invocation>, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        this.complain(error);
        if (!invocation.patient || invocation.signal.aborted) throw error;
        await sleep(retryMs, undefined, { signal: invocation.signal }).catch(() => {});
      }
    }
  }

  complain(error: Error): void {
    this.#throttle.run(Date.now(), (heldBack) =>
      this.#log.error(
        { event: "state-down", what: this.#what, reason: error.message, heldBack },
        "the state store does not answer: nothing is sent, and packs wait until it does",
      ),
    );
  }
}
