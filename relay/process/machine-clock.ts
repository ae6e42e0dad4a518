import { readFileSync, readlinkSync } from "node:fs";

/** The two clocks of a machine. */
export interface MachineClock {
  /** The wall clock in milliseconds since 1970. It may be wrong, and may be set back or ahead at any moment. */
  wallMs(): number;
  /** Milliseconds for which the machine has been running. Nobody sets it, and all processes of the machine see the same. */
  uptimeMs(): number;
  /** Identifies the run of the machine: `uptimeMs` of different runs cannot be compared. */
  readonly boot: string;
}

export const machineClock: MachineClock = {
  wallMs: () => Date.now(),
  uptimeMs: () => Number(process.hrtime.bigint() / 1_000n) / 1_000,
  boot: readBoot(),
};

/**
 * A clock that advances with the wall clock or the uptime, whichever advances more, and is never set back: for what may not be
 * used for too long. The uptime stops while the machine sleeps, and the wall clock may be set back.
 */
export function createForwardClock(machine: MachineClock = machineClock): () => number {
  let [wallMs, uptimeMs] = [machine.wallMs(), machine.uptimeMs()];
  let nowMs = wallMs;
  return () => {
    const [beforeWallMs, beforeUptimeMs] = [wallMs, uptimeMs];
    [wallMs, uptimeMs] = [machine.wallMs(), machine.uptimeMs()];
    nowMs += Math.max(wallMs - beforeWallMs, uptimeMs - beforeUptimeMs);
    return nowMs;
  };
}

/** Whether `boot` also tells this machine from others. */
export function hasBootId({ boot }: Pick<MachineClock, "boot">): boolean {
  return !boot.startsWith(" ");
}

/** A machine with one clock, which nobody sets. */
export function simulatedMachine(now: () => number): MachineClock {
  return { wallMs: now, uptimeMs: now, boot: "simulated" };
}

/**
 * The same in all processes that share an uptime. Containers may have one of their own, in a namespace of their own. With
 * systemd's `ProcSubset=pid` the first is missing, and the second is the same after each start of the machine.
 */
function readBoot(): string {
  return [
    () => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
    () => readlinkSync("/proc/self/ns/time"),
  ]
    .map((read) => {
      try {
        return read();
      } catch {
        // Only Linux has them: on other systems a smaller uptime shows that the machine was started again.
        return "";
      }
    })
    .join(" ");
}
