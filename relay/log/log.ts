import { type DestinationStream, type Logger, pino } from "pino";
import { LogOutput } from "./log-output.ts";

export type { Logger } from "pino";

/** Logs one JSON line per event to standard output (1) or standard error (2), see `LogOutput`. */
export function createLogger(level: string, to: 1 | 2 | DestinationStream = 1): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    typeof to === "number" ? new LogOutput(to) : to,
  );
}

/** Lets at most one event a minute through, and counts the events in between. */
export class Throttle {
  readonly #everyMs: number;
  #nextAtMs = Number.NEGATIVE_INFINITY;
  #heldBack = 0;

  constructor(everyMs = 60_000) {
    this.#everyMs = everyMs;
  }

  /** Calls `log` with the number of events held back since its last call, or holds this one back. */
  run(nowMs: number, log: (heldBack: number) => void): void {
    if (nowMs < this.#nextAtMs) {
      this.#heldBack++;
      return;
    }
    this.#nextAtMs = nowMs + this.#everyMs;
    const heldBack = this.#heldBack;
    this.#heldBack = 0;
    log(heldBack);
  }
}
