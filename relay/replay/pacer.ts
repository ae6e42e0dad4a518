import { type Clock, systemClock } from "../clock.ts";
import { Semaphore } from "../concurrency/semaphore.ts";
import type { SlotLeases } from "../state/port.ts";
import { clockToleranceUs, leaseUs, maxLateUs, slotsPerLease } from "../state/slot-lease.ts";

/** A rate that may change at any time. */
export interface LiveRate {
  /** Requests a second; Infinity where there is no limit. */
  readonly ratePerSecond: number;
  /** Takes up what has changed. Throws `StateError` where the rate is not known any more. */
  refresh(): Promise<void>;
}

// Who waits for longer looks in between whether the rate has changed.
const longestSleepUs = 1_000_000;

/** Gives out the send slots of a target one by one, from leases that it shares with all other workers. */
export class Pacer {
  readonly #target: string;
  readonly #rate: LiveRate;
  readonly #leases: SlotLeases;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** One leases for all who wait: a second lease would take the place of the first, and its slots would be lost. */
  readonly #leasing = new Semaphore(1);
  #slotUs = 0;
  #nextUs = 0;
  #slotsLeft = 0;

  /** @param random 0 to 1 */
  constructor(
    target: string,
    rate: LiveRate,
    leases: SlotLeases,
    clock: Clock = systemClock,
    random: () => number = Math.random,
  ) {
    this.#target = target;
    this.#rate = rate;
    this.#leases = leases;
    this.#clock = clock;
    this.#random = random;
  }

  /** True where nobody has to wait for a slot now. */
  get unlimited(): boolean {
    return this.#rate.ratePerSecond === Number.POSITIVE_INFINITY;
  }

  /**
   * Resolves at the caller's slot, at once where the rate has no limit. A slot that is too late is given up, so that a
   * stall is not made up by a burst. Throws `StateError` where no slots can be leased.
   */
  async acquire(signal: AbortSignal): Promise<void> {
    while (!this.unlimited) {
      signal.throwIfAborted();
      if (this.#slotsLeft === 0) {
        await this.#leasing.acquire(signal);
        try {
          if (this.#slotsLeft === 0) await this.#lease(signal);
        } finally {
          this.#leasing.release();
        }
        continue;
      }
      const dueUs = this.#nextUs;
      this.#nextUs += this.#slotUs;
      this.#slotsLeft--;
      if ((await this.#sleepUntil(dueUs, signal)) && this.#clock.nowUs() - dueUs <= maxLateUs) return;
    }
  }

  async #lease(signal: AbortSignal): Promise<void> {
    // The rate may have become so while somebody else leased.
    if (this.unlimited) return;
    const slotUs = 1_000_000 / this.#rate.ratePerSecond;
    const slots = slotsPerLease(slotUs);
    const grant = await this.#leases.take(this.#target, { nowUs: this.#clock.nowUs(), slotUs, slots });
    if (grant.granted) {
      this.#slotUs = slotUs;
      this.#nextUs = grant.startUs;
      this.#slotsLeft = slots;
    } else {
      // Not all of the workers at the same moment: one of them would get the lease, and each question is billed.
      await this.#sleepUntil(grant.retryAtUs + this.#random() * leaseUs, signal);
      // Else whoever is refused again and again would lease at the rate of long ago.
      await this.#rate.refresh();
    }
  }

  /**
   * False where the lease is given up: the rate has fallen, or risen so much that nobody should wait any longer, or the
   * clock was set back. A rate that rises little by little, as after a slowdown, keeps it: else no slot would ever be used.
   */
  async #sleepUntil(atUs: number, signal: AbortSignal): Promise<boolean> {
    const { ratePerSecond } = this.#rate;
    let nowUs = this.#clock.nowUs();
    while (nowUs < atUs) {
      const soonUs = nowUs + longestSleepUs;
      await this.#clock.sleepUntil(Math.min(atUs, soonUs), signal);
      if (atUs > soonUs) await this.#rate.refresh();
      const thenUs = nowUs;
      nowUs = this.#clock.nowUs();
      const changed = this.#rate.ratePerSecond < ratePerSecond || this.#rate.ratePerSecond > 2 * ratePerSecond;
      if ((atUs > soonUs && changed) || nowUs < thenUs - clockToleranceUs) {
        this.#slotsLeft = 0;
        return false;
      }
    }
    return true;
  }
}
