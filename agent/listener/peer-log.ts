import { type Logger, Throttle } from "../../relay/log/log.ts";

// Reasons may contain bytes that a peer sent: without a limit, peers could fill the memory.
const maxReasons = 64;

/**
 * Logs warnings about peers, at most one a minute per reason: a scanner, or an HAProxy that checks every second, must
 * not fill the log.
 */
export class PeerLog {
  readonly #log: Logger;
  readonly #throttles = new Map<string, Throttle>();
  /** Warnings since the start by event, including those that were not logged. */
  readonly counts = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  warn(
    fields: { readonly event: string; readonly peer: string; readonly reason: string; readonly heldBytes?: number },
    message: string,
  ): void {
    this.counts.set(fields.event, (this.counts.get(fields.event) ?? 0) + 1);
    const kind = `${fields.event} ${fields.reason}`;
    const key = this.#throttles.has(kind) || this.#throttles.size < maxReasons ? kind : "others";
    const throttle = this.#throttles.get(key) ?? new Throttle();
    this.#throttles.set(key, throttle);
    throttle.run(performance.now(), (heldBack) =>
      this.#log.warn({ ...fields, ...(heldBack > 0 && { heldBack }) }, message),
    );
  }

  debug(fields: object): void {
    this.#log.debug(fields);
  }
}
