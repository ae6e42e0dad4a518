import { maxLateUs } from "../state/slot-round.ts";

/** Tolerance for the time on the network, which neither the bound of sending nor the receiver's stall includes. */
export const wayAllowance = 0.25;

// Slots are whole milliseconds of one clock and arrivals are read from another; the two may drift apart.
const clockSlackMs = 3;
const clockDrift = 0.002;

/**
 * How many requests may arrive in any window of `windowMs` if they are sent at the rate. Sends are bounded by
 * rate * (window + lateness) + 1. A receiver that stalls for up to `stallMs` reads all requests sent meanwhile at once;
 * it accepts a connection in one turn of the event loop and reads in the next, so two stalls may add up.
 */
export function arrivalBound(ratePerSecond: number, windowMs: number, stallMs: number): number {
  const sentMs = windowMs + maxLateUs / 1_000 + 2 * stallMs;
  return Math.floor(((ratePerSecond * sentMs) / 1_000) * (1 + wayAllowance)) + 1;
}

/**
 * How many requests arrive before their slot, if the first slot is at `fromMs` or later. Stalls only delay requests, so the
 * result is 0 on any machine if the rate is kept.
 */
export function countEarly(timesMs: readonly number[], fromMs: number, ratePerSecond: number): number {
  const slotMs = (1_000 / ratePerSecond) * (1 - clockDrift);
  return timesMs.toSorted((a, b) => a - b).filter((timeMs, slot) => timeMs < fromMs + slot * slotMs - clockSlackMs)
    .length;
}
