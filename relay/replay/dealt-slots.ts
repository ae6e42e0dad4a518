import { isLost, laterSlot, maxLateUs, type Seat, type Slot, slotOf, slotsFrom } from "../state/slot-round.ts";

/** The slots of the seats that a process has. */
export class DealtSlots {
  /** Seats that may still have slots, in the order of their rounds. */
  #seats: readonly Seat[] = [];
  #lastSlot = -1;
  /** The part of the next slot that may be used at the current rate, from slots that were not used. */
  #part = 0;
  /** How many of the own slots were used, and how many passed unused, until `#countedUs`: older ones count less. */
  #used = 0;
  #passed = 0;
  #countedUs: number | undefined;
  #ownSlotUs = 0;

  /** Whether at least a third of the own slots of about the last ten seconds passed unused. */
  hasPlenty(nowUs: number): boolean {
    if (this.#countedUs === undefined) return false;
    const share = fade(nowUs - this.#countedUs);
    return 2 * (this.#passed * share + this.#passedUntil(nowUs, this.#ownSlotUs)) >= this.#used * share;
  }

  add(seat: Seat): void {
    this.#seats = [...this.#seats, seat];
  }

  /** Forgets everything: the state has lost its rounds, and new ones number their slots from 0 again. */
  clear(): void {
    this.#seats = [];
    this.#lastSlot = -1;
  }

  /**
   * The due time of the next slot, which is then used; undefined if none is known. Takes as many steps as the process has seats,
   * however many slots it passes over: a round can have millions.
   *
   * @param slotUs at the current rate, which may have changed since the round was closed
   */
  take(nowUs: number, slotUs: number): number | undefined {
    for (let [seat] = this.#seats; seat; [seat] = this.#seats) {
      const { round } = seat;
      const next = isLost(round, nowUs) ? undefined : slotOf(seat, nowUs - maxLateUs, this.#lastSlot);
      const slot = next && this.#choose(seat, next, slotUs);
      if (slot) {
        this.#count(slot.dueUs, round.seats * Math.max(round.slotUs, slotUs));
        return slot.dueUs;
      }
      this.#seats = this.#seats.slice(1);
    }
    return undefined;
  }

  /** The slot to use of those that the seat has from `next` on; undefined if it has too few. */
  #choose(seat: Seat, next: Slot, slotUs: number): Slot | undefined {
    const { round } = seat;
    // Until the next round, a rate that has fallen is kept by using a part of the slots.
    const share = slotUs > round.slotUs * maxDifference ? round.slotUs / slotUs : 1;
    const needed = Math.max(1, Math.ceil((1 - this.#part) / share));
    const slot = laterSlot(seat, next, needed - 1);
    const passed = slot ? needed : slotsFrom(seat, next);
    this.#lastSlot = slot?.slot ?? next.slot + (passed - 1) * round.seats;
    this.#part = Math.max(0, this.#part + passed * share - (slot ? 1 : 0));
    return slot;
  }

  #count(dueUs: number, ownSlotUs: number): void {
    const share = fade(dueUs - (this.#countedUs ?? dueUs));
    // If the rate has risen meanwhile, fewer slots have passed than at the new rate.
    const passed = this.#passedUntil(dueUs, Math.max(ownSlotUs, this.#ownSlotUs));
    this.#used = this.#used * share + 1;
    this.#passed = this.#passed * share + passed;
    this.#countedUs = dueUs;
    this.#ownSlotUs = ownSlotUs;
  }

  /** How many slots passed since the last used one. Without a seat, slots pass as well: those that the process would have had. */
  #passedUntil(atUs: number, ownSlotUs: number): number {
    const sinceUs = Math.min(atUs - (this.#countedUs ?? atUs), memoryUs);
    return ownSlotUs > 0 ? Math.max(0, sinceUs / ownSlotUs - 1) : 0;
  }
}

/** How much of a count is left after a time. */
function fade(us: number): number {
  return Math.exp(-Math.max(0, us) / memoryUs);
}

// About as long as most slow answers take.
const memoryUs = 10_000_000;
// While a rate rises after a slowdown, workers that read it at different times differ by less.
const maxDifference = 1.15;
