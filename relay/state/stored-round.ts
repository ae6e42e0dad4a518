import { bounds, isWithinBounds } from "../config/bounds.ts";
import { longestOpenUs, type RoundTable, type SlotRound } from "./slot-round.ts";

/** The highest number of a round: a target has two rounds a second at most. */
export const mostRounds = 2 ** 52;
// Each seat is a process.
const mostSeats = 100_000;
const usPerSeat = 20_000;
const mostUs = bounds.timeMs.most * 1_000;
const [leastSlotUs, mostSlotUs] = [1e6 / bounds.ratePerSecond.most, 1e6 / bounds.ratePerSecond.least];
// Rounding, and a lead that a slow state has made longer.
const slackUs = 10_000_000;

/**
 * A round as a store holds it. A round that no worker could use, because an older version wrote it at a rate that is no longer
 * allowed or somebody changed it by hand, is read as one that is over and had no slots: its workers close it, and the next one has
 * right numbers. Undefined if even its number is wrong: then the target has no round, and a worker opens one.
 *
 * @param field reads a number of the stored round; NaN if there is none
 */
export function readStoredRound(field: (name: keyof SlotRound | "entered") => number): RoundTable | undefined {
  const round: SlotRound = {
    number: field("number"),
    startUs: field("startUs"),
    endUs: field("endUs"),
    closeUs: field("closeUs"),
    seats: field("seats"),
    slotUs: field("slotUs"),
    firstSlot: field("firstSlot"),
    firstUs: field("firstUs"),
  };
  const { number } = round;
  if (!(number >= 0 && number <= mostRounds)) return undefined;
  const entered = Math.min(mostSeats, Math.max(0, field("entered") || 0));
  return { round: isUsable(round) ? round : { ...over, number }, entered };
}

const over: Omit<SlotRound, "number"> = {
  startUs: 0,
  endUs: 0,
  closeUs: 0,
  seats: 1,
  slotUs: 1_000_000,
  firstSlot: 0,
  firstUs: 0,
};

function isUsable({ startUs, endUs, closeUs, seats, slotUs, firstSlot, firstUs }: SlotRound): boolean {
  const lengthUs = endUs - startUs;
  return (
    isWithinBounds(startUs, { least: 0, most: mostUs }) &&
    isWithinBounds(lengthUs, { least: 0, most: longestOpenUs + mostSeats * usPerSeat + slackUs }) &&
    isWithinBounds(closeUs, { least: startUs - slackUs, most: endUs }) &&
    isWithinBounds(seats, { least: 0, most: mostSeats }) &&
    isWithinBounds(slotUs, { least: leastSlotUs * 0.999_999, most: mostSlotUs * 1.000_001 }) &&
    isWithinBounds(firstSlot, { least: 0, most: 2 ** 52 }) &&
    isWithinBounds(firstUs, { least: startUs - mostSlotUs, most: endUs + 2 * mostSlotUs })
  );
}
