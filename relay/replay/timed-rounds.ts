import type { Clock } from "../clock.ts";
import type { ClosedRound, SlotRounds } from "../state/port.ts";
import type { OpenRound, RoundTable, SlotRound } from "../state/slot-round.ts";

/** The rounds of one target, and how long calls to the state take. All methods throw `StateError`. */
export class TimedRounds {
  /** How long a call takes; follows slower calls faster than quicker ones. */
  tripUs = 0;
  #answered = false;
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
    // Left out: the first call, which fetches credentials and connects; a call during which the process was frozen or the clock
    // was set back.
    if (this.#answered && tripUs >= 0 && tripUs < longestTripUs) {
      this.tripUs += (tripUs - this.tripUs) / (tripUs > this.tripUs ? 2 : 4);
    }
    this.#answered = true;
    return result;
  }
}

const longestTripUs = 1_000_000;
