import cluster from "node:cluster";
import type { Logger } from "../log/log.ts";
import { type MachineClock, machineClock } from "./machine-clock.ts";

const everyMs = 1_000;
// Corrections of a time service are far smaller: it sets a clock that is off by more, and slows or speeds up the others.
const leastJumpMs = 1_000;

/** Logs each jump of the wall clock, until the process ends. Workers leave it to the first process. */
export function watchClock(log: Logger, machine: MachineClock = machineClock): void {
  if (cluster.isWorker) return;
  let offsetMs = machine.wallMs() - machine.uptimeMs();
  setInterval(() => {
    const beforeMs = offsetMs;
    offsetMs = machine.wallMs() - machine.uptimeMs();
    const jumpMs = Math.round(offsetMs - beforeMs);
    if (Math.abs(jumpMs) < leastJumpMs) return;
    log.warn(
      { event: "clock-set", jumpMs, direction: jumpMs > 0 ? "ahead" : "back" },
      "the clock of the machine jumped: it was set, or the machine slept. Times in logs, captures and figures jump with it; nothing is removed or held back because of it",
    );
  }, everyMs).unref();
}
