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

/** Gives out the send slots of a target one by one, from leases that it shares with all other workers. */
export class Pacer {
  readonly #target: string;
  readonly #slotUs: number;
  readonly #leases: SlotLeases;
  readonly #clock: Clock;
  #nextUs = 0;
  #slotsLeft = 0;

  constructor(target: string, ratePerSecond: number, leases: SlotLeases, clock: Clock = systemClock) {
    this.#target = target;
    this.#slotUs = 1_000_000 / ratePerSecond;
    this.#leases = leases;
    this.#clock = clock;
  }

  /** Resolves at the caller's slot. A slot that is too late is given up, so that a stall is not made up by a burst. */
  async acquire(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#slotsLeft === 0) {
        await this.#lease(signal);
        continue;
      }
      const dueUs = this.#nextUs;
      this.#nextUs += this.#slotUs;
      this.#slotsLeft--;
      await this.#clock.sleepUntil(dueUs, signal);
      if (this.#clock.nowUs() - dueUs <= maxLateUs) return;
    }
  }

  async #lease(signal: AbortSignal): Promise<void> {
    const slots = slotsPerLease(this.#slotUs);
    const grant = await this.#leases.lease(this.#target, { nowUs: this.#clock.nowUs(), slotUs: this.#slotUs, slots });
    if (grant.granted) {
      this.#nextUs = grant.startUs;
      this.#slotsLeft = slots;
    } else {
      await this.#clock.sleepUntil(grant.retryAtUs, signal);
    }
  }
}
