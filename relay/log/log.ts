import { type DestinationStream, type Logger, pino } from "pino";
import { hideUrlPasswords } from "../redaction/url-passwords.ts";
import { LogOutput } from "./log-output.ts";

export type { Logger } from "pino";

/** Logs one JSON line per event to standard output (1) or standard error (2), see `LogOutput`. */
export function createLogger(level: string, to: 1 | 2 | DestinationStream = 1): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      // Whatever a library puts into the message of an error.
      hooks: { streamWrite: (line) => hideUrlPasswords(line) },
      formatters: { level: (label) => ({ level: label }) },
    },
    typeof to === "number" ? new LogOutput(to) : to,
  );
}

/** Lets at most `most` events a minute through, one by default, and counts the others. */
export class Throttle {
  readonly #everyMs: number;
  readonly #most: number;
  #left = 0;
  #nextAtMs = Number.NEGATIVE_INFINITY;
  #heldBack = 0;

  constructor(everyMs = 60_000, most = 1) {
    this.#everyMs = everyMs;
    this.#most = most;
  }

  /** Calls `log` with the number of events held back since its last call, or holds this one back. */
  run(nowMs: number, log: (heldBack: number) => void): void {
    // Earlier by more than a period: the clock was set back.
    if (nowMs >= this.#nextAtMs || nowMs < this.#nextAtMs - this.#everyMs) {
      this.#nextAtMs = nowMs + this.#everyMs;
      this.#left = this.#most;
    }
    if (this.#left === 0) {
      this.#heldBack++;
      return;
    }
    this.#left--;
    const heldBack = this.#heldBack;
    this.#heldBack = 0;
    log(heldBack);
  }
}
