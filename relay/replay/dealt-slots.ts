import { isLost, maxLateUs, type Seat, slotOf } from "../state/slot-round.ts";

/** The slots of the seats that a process has. */
export class DealtSlots {
  /** Seats that may still have slots, in the order of their rounds. */
  #seats: readonly Seat[] = [];
  #lastSlot = -1;
  /** The part of the next slot that may be used at the current rate, from slots that were not used. */
  #part = 0;
  /** How many slots pass unused for each slot that is used: an average. */
  #unused = 0;

  /** Whether at least half of the slots pass unused. */
  get plenty(): boolean {
    return this.#unused >= 1;
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
   * The due time of the next slot, which is then used; undefined if none is known.
   *
   * @param slotUs at the current rate, which may have changed since the round was closed
   */
  take(nowUs: number, slotUs: number): number | undefined {
    for (let [seat] = this.#seats; seat; [seat] = this.#seats) {
      const { round } = seat;
      const slot = isLost(round, nowUs) ? undefined : slotOf(seat, nowUs - maxLateUs, this.#lastSlot);
      if (!slot) {
        this.#seats = this.#seats.slice(1);
        continue;
      }
      const passed =
        Math.floor((slot.slot - Math.max(this.#lastSlot, round.firstSlot - round.seats)) / round.seats) - 1;
      this.#lastSlot = slot.slot;
      // Until the next round, a rate that has fallen is kept by using a part of the slots.
      this.#part += slotUs > round.slotUs * maxDifference ? round.slotUs / slotUs : 1;
      if (this.#part < 1) continue;
      this.#part %= 1;
      this.#unused += (passed - this.#unused) / 4;
      return slot.dueUs;
    }
    return undefined;
  }
}

// While a rate rises after a slowdown, workers that read it at different times differ by less.
const maxDifference = 1.15;
