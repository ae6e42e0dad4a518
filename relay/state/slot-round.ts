/**
 * A period in which the send slots of a target are dealt out in turn to the workers that have a seat. All workers see the same
 * round: it never changes once it is in the state. Times are microseconds since 1970.
 */
export interface SlotRound {
  /**
   * One more than that of the round before, in which workers took the seats of this one; two more if nobody had closed that
   * round in time, and the seats that workers took in it are void.
   */
  readonly number: number;
  readonly startUs: number;
  /** Not included. */
  readonly endUs: number;
  /** When the next round is closed: later seats are for the round after that. */
  readonly closeUs: number;
  /** Slot n belongs to seat n modulo `seats`. */
  readonly seats: number;
  /** Distance between two slots: 1,000,000 / rate. */
  readonly slotUs: number;
  /** Number of the first slot. Numbers go on from round to round, so that the slots of a seat stay evenly spread. */
  readonly firstSlot: number;
  /** Time of the first slot. If it is not before `endUs`, the round has no slot. */
  readonly firstUs: number;
}

/** What the state keeps of a target: its newest round, and how many workers have taken a seat in the round after that. */
export interface RoundTable {
  readonly round: SlotRound;
  readonly entered: number;
}

/** One seat in one round. */
export interface Seat {
  readonly round: SlotRound;
  /** 0 to `round.seats - 1`. */
  readonly seat: number;
}

export interface Slot {
  readonly slot: number;
  readonly dueUs: number;
}

/** A slot may be used this late. Later it is given up, so that no burst follows a stall. */
export const maxLateUs = 50_000;

// How far clocks may differ before a worker that is behind takes no part any more.
const clockToleranceUs = 300_000;

// Short, so that a worker soon gets slots, and soon leaves them to others; at a low rate as long as a slot.
const shortestRoundUs = 500_000;
const longestForSlotUs = 1_000_000;
// Each worker takes its seat in the next round with one write: this many a second at most, however many workers there are.
const seatsPerSecond = 50;
// What clocks may differ before workers learn of a round only after it has begun.
const clocksDifferUs = 100_000;
// So that a worker that is further away from the state than the one that closes the round learns of it in time.
const shortestLeadUs = 250_000;
const longestLeadUs = 1_000_000;
/** A round is opened this long before its first slot at most. */
export const longestOpenUs = 2_000_000;

/** A round before it is closed: nobody knows yet how many seats it has. */
export type OpenRound = Omit<SlotRound, "seats">;

/**
 * The round after `last`. Its first slot is one distance after the last slot of the rounds before, or at its start if that
 * is later: nothing is made up for.
 *
 * Why the rate holds: a slot is used by one worker at most, because rounds do not overlap, seats are counted by the state, and
 * slot n belongs to one seat. A worker uses a slot at its due time or up to J = `maxLateUs` later, by its own clock, which is
 * off by ε at most. So whatever is sent in a window W uses slots that are due within W + 2ε + J, and two slots are at least
 * one distance apart: at most rate * (W + 2ε + J) + 1 of them. Workers that stop, freeze or die only leave slots unused.
 */
export function toNextRound(last: SlotRound, slotUs: number, nowUs: number, tripUs: number): OpenRound {
  const startUs = Math.max(last.endUs, Math.ceil(nowUs));
  return {
    number: last.number + 1,
    ...toTimes(startUs, startUs, last.seats, slotUs, tripUs),
    slotUs,
    firstSlot: last.firstSlot + slotsOf(last),
    firstUs: Math.max(startUs, nextSlotUs(last, slotUs)),
  };
}

/** A round that starts now, after a pause: its only seat belongs to the worker that opens it. */
export function toOpenedRound(last: SlotRound | undefined, slotUs: number, nowUs: number, tripUs: number): SlotRound {
  const lost = last !== undefined && isLost(last, nowUs);
  const startUs = Math.ceil(last && !lost ? Math.max(nowUs, last.endUs) : nowUs);
  const firstUs = last && !lost ? Math.max(startUs, nextSlotUs(last, slotUs)) : startUs;
  return {
    number: (last?.number ?? 0) + 2,
    ...toTimes(startUs, Math.min(firstUs, startUs + longestOpenUs), 1, slotUs, tripUs),
    seats: 1,
    slotUs,
    firstSlot: last ? last.firstSlot + slotsOf(last) : 0,
    firstUs,
  };
}

/** When the slot after the slots of a round is due if the rate changes to one slot in `slotUs`. */
export function nextSlotUs(round: SlotRound, slotUs: number): number {
  // Rounded up: rounding errors must not add up to a higher rate.
  return Math.ceil(round.firstUs + (slotsOf(round) - 1) * round.slotUs + slotUs);
}

function slotsOf({ firstUs, endUs, slotUs }: SlotRound): number {
  const slots = Math.max(0, Math.ceil((endUs - firstUs) / slotUs));
  // The quotient may be rounded up past a whole number: the last slot is then due at the end, where `slotOf` has none.
  return slots > 0 && firstUs + (slots - 1) * slotUs >= endUs ? slots - 1 : slots;
}

/** The first slot of a seat that is due at `fromUs` or later and comes after the slot `after`; undefined if there is none. */
export function slotOf({ round, seat }: Seat, fromUs: number, after: number): Slot | undefined {
  const { firstSlot, firstUs, slotUs, seats, endUs } = round;
  if (firstUs >= endUs) return undefined;
  const least = Math.max(firstSlot, after + 1, firstSlot + Math.ceil((fromUs - firstUs) / slotUs));
  const slot = least + ((((seat - least) % seats) + seats) % seats);
  const dueUs = firstUs + (slot - firstSlot) * slotUs;
  return dueUs < endUs ? { slot, dueUs } : undefined;
}

/** The slot that comes `count` slots of the same seat after this one; undefined if it is not in the round. */
export function laterSlot({ round }: Seat, { slot: before }: Slot, count: number): Slot | undefined {
  const { firstSlot, firstUs, slotUs, seats, endUs } = round;
  const slot = before + count * seats;
  const dueUs = firstUs + (slot - firstSlot) * slotUs;
  return dueUs < endUs ? { slot, dueUs } : undefined;
}

/** How many slots the seat has from one of its slots on, with that one. */
export function slotsFrom(seat: Seat, from: Slot): number {
  const { endUs, seats, slotUs } = seat.round;
  const count = Math.max(1, Math.ceil((endUs - from.dueUs) / (seats * slotUs)));
  // The quotient may be rounded up past a whole number.
  return count > 1 && !laterSlot(seat, from, count - 1) ? count - 1 : count;
}

/** @param tripUs of a call to the state, as far as the worker knows */
function toTimes(startUs: number, firstUs: number, seats: number, slotUs: number, tripUs: number) {
  // Time for the write that closes the round, and for a read after it.
  const leadUs = Math.min(longestLeadUs, Math.max(shortestLeadUs, clocksDifferUs + 20_000 + 2.5 * tripUs));
  const forWritesUs = (seats * 1_000_000) / seatsPerSecond;
  const lengthUs = Math.max(shortestRoundUs, 2.5 * leadUs, forWritesUs, Math.min(slotUs, longestForSlotUs));
  const endUs = Math.ceil(firstUs + lengthUs);
  return { startUs, endUs, closeUs: Math.ceil(endUs - leadUs) };
}

/** When the worker with this seat should take its seat in the next round: workers keep their order, and writes are spread. */
export function enteringUs({ round, seat }: Seat, tripUs: number): number {
  const { startUs, closeUs, seats } = round;
  return startUs + ((seat + 0.5) / seats) * Math.max(0, closeUs - startUs - clocksDifferUs / 2 - tripUs);
}

/** Whether a round starts so far ahead that clocks must differ, or this one was set back. Waiting for it could take hours. */
export function isLost({ startUs, endUs, closeUs }: SlotRound, nowUs: number): boolean {
  // A round is closed about as long before its start as the next one is before its end.
  return startUs > nowUs + 1.5 * (endUs - closeUs) + clockToleranceUs;
}
