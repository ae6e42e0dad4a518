import type { Clock } from "../clock.ts";
import type { ClosedRound, SlotRounds } from "../state/port.ts";
import type { OpenRound, RoundTable, SlotRound } from "../state/slot-round.ts";

/** The rounds of one target, and how long calls to the state take. All methods throw `StateError`. */
export class TimedRounds {
  /** Rises quickly and falls slowly. */
  tripUs = 0;
  readonly #target: string;
  readonly #rounds: SlotRounds;
  readonly #clock: Clock;

  constructor(target: string, rounds: SlotRounds, clock: Clock) {
    this.#target = target;
    this.#rounds = rounds;
    this.#clock = clock;
  }

  read(): Promise<RoundTable | undefined> {
    return this.#time(this.#rounds.read(this.#target));
  }

  enter(): Promise<RoundTable | undefined> {
    return this.#time(this.#rounds.enter(this.#target));
  }

  close(last: SlotRound, next: OpenRound, self: boolean): Promise<ClosedRound> {
    return this.#time(this.#rounds.close(this.#target, last, next, self));
  }

  open(last: SlotRound | undefined, next: SlotRound): Promise<ClosedRound> {
    return this.#time(this.#rounds.open(this.#target, last, next));
  }

  async #time<T>(call: Promise<T>): Promise<T> {
    const startUs = this.#clock.nowUs();
    const result = await call;
    const tripUs = this.#clock.nowUs() - startUs;
    // Not the time for which the process was frozen, nor if the clock was set back.
    if (tripUs >= 0 && tripUs < longestTripUs) {
      this.tripUs += (tripUs - this.tripUs) / (tripUs > this.tripUs ? 2 : 16);
    }
    return result;
  }
}

const longestTripUs = 1_000_000;
