import { setTimeout as sleep } from "node:timers/promises";
import { maxLateUs, slotsPerLease } from "./pacing.ts";
import type { SlotLeases } from "./state/port.ts";

/** The wall clock in microseconds; slots are shared between processes, so it has to be the same one for all. */
export interface Clock {
  nowUs(): number;
  /** Resolves at `atUs` or a little later, never before; rejects when the signal is raised. */
  sleepUntil(atUs: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowUs: () => Date.now() * 1_000,
  async sleepUntil(atUs, signal) {
    for (let leftUs = atUs - Date.now() * 1_000; leftUs > 0; leftUs = atUs - Date.now() * 1_000) {
      await sleep(Math.ceil(leftUs / 1_000), undefined, { signal });
    }
  },
};

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
  #slotUs = 0;
  #nextUs = 0;
  #slotsLeft = 0;

  constructor(target: string, rate: LiveRate, leases: SlotLeases, clock: Clock = systemClock) {
    this.#target = target;
    this.#rate = rate;
    this.#leases = leases;
    this.#clock = clock;
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
        await this.#lease(signal);
        continue;
      }
      const dueUs = this.#nextUs;
      this.#nextUs += this.#slotUs;
      this.#slotsLeft--;
      if ((await this.#sleepUntil(dueUs, signal)) && this.#clock.nowUs() - dueUs <= maxLateUs) return;
    }
  }

  async #lease(signal: AbortSignal): Promise<void> {
    const slotUs = 1_000_000 / this.#rate.ratePerSecond;
    const slots = slotsPerLease(slotUs);
    const grant = await this.#leases.lease(this.#target, { nowUs: this.#clock.nowUs(), slotUs, slots });
    if (grant.granted) {
      this.#slotUs = slotUs;
      this.#nextUs = grant.startUs;
      this.#slotsLeft = slots;
    } else {
      await this.#sleepUntil(grant.retryAtUs, signal);
    }
  }

  /** False where the rate has changed during a long wait: then the lease is given up, since it belongs to the old one. */
  async #sleepUntil(atUs: number, signal: AbortSignal): Promise<boolean> {
    const { ratePerSecond } = this.#rate;
    for (;;) {
      const soonUs = this.#clock.nowUs() + longestSleepUs;
      await this.#clock.sleepUntil(Math.min(atUs, soonUs), signal);
      if (atUs <= soonUs) return true;
      await this.#rate.refresh();
      if (this.#rate.ratePerSecond !== ratePerSecond) {
        this.#slotsLeft = 0;
        return false;
      }
    }
  }
}
