import { type Clock, systemClock } from "../clock.ts";
import { Semaphore } from "../concurrency/semaphore.ts";
import type { SlotLeases } from "../state/port.ts";
import { clockToleranceUs, leaseUs, maxLateUs, slotsPerLease } from "../state/slot-lease.ts";

/** A rate that may change at any time. */
export interface LiveRate {
  /** Requests a second; Infinity if there is no limit. */
  readonly ratePerSecond: number;
  /** Reads the current rate. Throws `StateError` if the rate is no longer known. */
  refresh(): Promise<void>;
}

// A caller that waits longer than this rereads the rate in between.
const longestSleepUs = 1_000_000;

/** Gives out the send slots of a target one by one. It leases them from a state that all workers share. */
export class Pacer {
  readonly #target: string;
  readonly #rate: LiveRate;
  readonly #leases: SlotLeases;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** One caller leases for all that wait: a second lease would replace the first, whose slots would be lost. */
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

  /** True if the rate has no limit now: no caller needs a slot. */
  get unlimited(): boolean {
    return this.#rate.ratePerSecond === Number.POSITIVE_INFINITY;
  }

  /**
   * Resolves at the caller's slot, or at once if the rate has no limit. A slot that is too late is given up, so that no
   * burst follows a stall. Throws `StateError` if no slots can be leased.
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
    // The rate may have changed while another caller leased.
    if (this.unlimited) return;
    const slotUs = 1_000_000 / this.#rate.ratePerSecond;
    const slots = slotsPerLease(slotUs);
    const grant = await this.#leases.take(this.#target, { nowUs: this.#clock.nowUs(), slotUs, slots });
    if (grant.granted) {
      this.#slotUs = slotUs;
      this.#nextUs = grant.startUs;
      this.#slotsLeft = slots;
    } else {
      // Spread out at random: if all workers asked at the same moment, one would be granted the lease, and all calls are billed.
      await this.#sleepUntil(grant.retryAtUs + this.#random() * leaseUs, signal);
      // Otherwise a worker that is refused several times in a row would lease at an old rate.
      await this.#rate.refresh();
    }
  }

  /**
   * False if the lease is given up: the rate has fallen, or has more than doubled, or the clock was set back. A rate that
   * rises in small steps, as after a slowdown, keeps the lease: otherwise no slot would ever be used.
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
