import { type MachineClock, machineClock } from "./machine-clock.ts";

interface Observation {
  readonly uptimeMs: number;
  /** The wall clock minus the uptime: it changes only if the wall clock is set. */
  readonly offsetMs: number;
}

/**
 * The wall clock for whoever deletes by it. If the wall clock is set ahead, this one follows only once it has stayed there for an
 * hour: a wrong clock that somebody corrects within the hour deletes nothing.
 */
export class SettledClock {
  readonly #machine: MachineClock;
  readonly #settleMs: number;
  #observations: readonly Observation[] = [];

  constructor(machine: MachineClock = machineClock, settleMs = 3_600_000) {
    this.#machine = machine;
    this.#settleMs = settleMs;
  }

  /**
   * In milliseconds since 1970; undefined within an hour of the first call, because the wall clock may have been wrong before
   * it. Call it each minute: it notices only what it sees.
   */
  nowMs(): number | undefined {
    const uptimeMs = this.#machine.uptimeMs();
    const offsetMs = this.#machine.wallMs() - uptimeMs;
    const settledMs = uptimeMs - this.#settleMs;
    // The last one before the hour tells how the hour began.
    const first = this.#observations.findLastIndex((one) => one.uptimeMs <= settledMs);
    this.#observations = [...this.#observations.slice(Math.max(0, first)), { uptimeMs, offsetMs }];
    if (first === -1) return undefined;
    return uptimeMs + Math.min(...this.#observations.map((one) => one.offsetMs));
  }
}
