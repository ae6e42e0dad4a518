import { type Clock, systemClock } from "../clock.ts";
import type { SlotRounds } from "../state/port.ts";
import { maxLateUs } from "../state/slot-round.ts";
import type { LiveRate } from "./live-rate.ts";
import { type Load, RoundSeats } from "./round-seats.ts";

// A caller that waits longer than this rereads the rate in between.
const longestSleepUs = 1_000_000;

/** Gives out the send slots of a target one by one: those that its workers deal to this process. */
export class Pacer {
  readonly #rate: LiveRate;
  readonly #clock: Clock;
  readonly #seats: RoundSeats;

  /** @param random 0 to 1 */
  constructor(
    target: string,
    rate: LiveRate,
    rounds: SlotRounds,
    clock: Clock = systemClock,
    random: () => number = Math.random,
  ) {
    this.#rate = rate;
    this.#clock = clock;
    this.#seats = new RoundSeats({ target, rate, rounds, clock, random });
  }

  /** True if the rate has no limit now: no caller needs a slot. */
  get unlimited(): boolean {
    return this.#rate.ratePerSecond === Number.POSITIVE_INFINITY;
  }

  /**
   * Resolves at the caller's slot, or at once if the rate has no limit. A slot that is too late is given up, so that no
   * burst follows a stall. Throws `StateError` if the state does not answer and this process has no slots left.
   *
   * @param load without it, the process wants no slots between two calls
   */
  async acquire(signal: AbortSignal, load?: Load): Promise<void> {
    if (this.unlimited) return;
    await this.#seats.during(async () => {
      while (!this.unlimited) {
        signal.throwIfAborted();
        const dueUs = this.#seats.take();
        if (dueUs === undefined) await this.#seats.changed(signal);
        else if ((await this.#sleepUntil(dueUs, signal)) && this.#clock.nowUs() - dueUs <= maxLateUs) return;
      }
    }, load);
  }

  /** False if the slot is given up: the rate has fallen meanwhile, or the clock was set back. */
  async #sleepUntil(atUs: number, signal: AbortSignal): Promise<boolean> {
    const { ratePerSecond } = this.#rate;
    let nowUs = this.#clock.nowUs();
    while (nowUs < atUs) {
      const soonUs = nowUs + longestSleepUs;
      await this.#clock.sleepUntil(Math.min(atUs, soonUs), signal);
      if (atUs > soonUs) await this.#rate.refresh();
      const thenUs = nowUs;
      nowUs = this.#clock.nowUs();
      if (this.#rate.ratePerSecond < ratePerSecond || nowUs < thenUs) return false;
    }
    return true;
  }
}
