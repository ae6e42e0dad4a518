import type { Clock } from "../../relay/clock.ts";
import { type ClosedRound, type SlotRounds, StateError } from "../../relay/state/port.ts";
import type { OpenRound, RoundTable, SlotRound } from "../../relay/state/slot-round.ts";

/** A store with one target, which answers after a round trip. */
export class SimulatedRounds {
  away = false;
  readonly #clock: Clock;
  readonly #roundTripUs: number;
  /** The times of all writes, and of those that were refused because another worker was first. */
  readonly writesUs: number[] = [];
  readonly refusalsUs: number[] = [];
  readonly readsUs: number[] = [];
  #table: RoundTable | undefined;

  constructor(clock: Clock, roundTripUs: number) {
    this.#clock = clock;
    this.#roundTripUs = roundTripUs;
  }

  /** The store as a worker sees it, who may be frozen when the answer arrives. */
  of(worker: Clock): SlotRounds {
    const call = async <T>(work: () => T): Promise<T> => {
      await this.#clock.sleepUntil(this.#clock.nowUs() + this.#roundTripUs / 2);
      if (this.away) throw new StateError("the store does not answer");
      const result = work();
      await worker.sleepUntil(worker.nowUs() + this.#roundTripUs / 2);
      return result;
    };
    return {
      read: () => call(() => this.#read()),
      enter: () => call(() => this.#enter()),
      close: (_, last, next, self) =>
        call(() => this.#write(last, { ...next, seats: (this.#table?.entered ?? 0) + (self ? 1 : 0) })),
      open: (_, last, next) => call(() => this.#write(last, next)),
    };
  }

  #read(): RoundTable | undefined {
    this.readsUs.push(this.#clock.nowUs());
    return this.#table;
  }

  #enter(): RoundTable | undefined {
    this.writesUs.push(this.#clock.nowUs());
    this.#table &&= { round: this.#table.round, entered: this.#table.entered + 1 };
    return this.#table;
  }

  #write(last: SlotRound | undefined, round: OpenRound & { readonly seats: number }): ClosedRound {
    this.writesUs.push(this.#clock.nowUs());
    const table = this.#table;
    if (table?.round.number !== last?.number) {
      this.refusalsUs.push(this.#clock.nowUs());
      return { written: false, table };
    }
    this.#table = { round, entered: 0 };
    return { written: true, table: this.#table };
  }
}
