import { maxLateUs } from "../state/slot-lease.ts";

/** What is allowed beyond the bound of sending and the receiver's stall, neither of which sees the way between them. */
export const wayAllowance = 0.25;

// Slots are whole milliseconds of one clock, arrivals are read from another one, and the two may drift apart.
const clockSlackMs = 3;
const clockDrift = 0.002;

/**
 * How many requests may arrive in any window of `windowMs` where their sending keeps to the rate. Sends are bounded by
 * rate * (window + lateness) + 1. A receiver that stands still for up to `stallMs` finds what was sent meanwhile at once:
 * it accepts in one turn and reads in the next, so that it may have been held up twice.
 */
export function arrivalBound(ratePerSecond: number, windowMs: number, stallMs: number): number {
  const sentMs = windowMs + maxLateUs / 1_000 + 2 * stallMs;
  return Math.floor(((ratePerSecond * sentMs) / 1_000) * (1 + wayAllowance)) + 1;
}

/**
 * How many arrive before their slot, where no slot is before `fromMs`. Stalls only delay: whatever the machine does, it is
 * none where the rate is kept.
 */
export function countEarly(timesMs: readonly number[], fromMs: number, ratePerSecond: number): number {
  const slotMs = (1_000 / ratePerSecond) * (1 - clockDrift);
  return timesMs.toSorted((a, b) => a - b).filter((timeMs, slot) => timeMs < fromMs + slot * slotMs - clockSlackMs)
    .length;
}
