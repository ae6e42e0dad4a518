import { type Logger, Throttle } from "../relay/log/log.ts";
import type { ReplayResult } from "../relay/replay/replay-result.ts";

/** Logs what was unusual about a target's requests, each kind at most once a minute. */
export class ReplayWarnings {
  readonly #target: string;
  readonly #log: Logger;
  readonly #malformed = new Throttle();
  readonly #overdue = new Throttle();

  constructor(target: string, log: Logger) {
    this.#target = target;
    this.#log = log;
  }

  note({ malformed, overdue }: ReplayResult): void {
    if (malformed) this.#warnOfMalformed(malformed);
    if (overdue > 0) this.#warnOfOverdue(overdue);
  }

  #warnOfMalformed({ method, path, reason }: NonNullable<ReplayResult["malformed"]>): void {
    const about = { target: this.#target, method, path: path.split("?", 1)[0], reason };
    this.#malformed.run(performance.now(), (heldBack) =>
      this.#log.warn(
        { event: "malformed-answer", ...about, heldBack },
        "the shadow answered with bytes that are not HTTP: counted as answered, not sent again",
      ),
    );
  }

  #warnOfOverdue(requests: number): void {
    this.#overdue.run(performance.now(), (heldBack) =>
      this.#log.warn(
        { event: "overdue", target: this.#target, requests, heldBack },
        "requests have waited for longer than the target's queue keeps them: they have expired",
      ),
    );
  }
}
