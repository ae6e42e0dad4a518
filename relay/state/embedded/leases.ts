import type { SlotLeases } from "../port.ts";
import { grantSlots, maxRequestAgeMs, type SlotGrant, type SlotRequest } from "../slot-lease.ts";
import type { StateFile } from "./sql.ts";

/** The slot leases of each target in one row: its course. */
export class EmbeddedLeases implements SlotLeases {
  readonly #file: StateFile;
  readonly #now: () => number;

  constructor(file: StateFile, now: () => number) {
    this.#file = file;
    this.#now = now;
  }

  async take(target: string, request: SlotRequest): Promise<SlotGrant> {
    const { course, steer } = this.#file.statements;
    const askedAtMs = this.#now();
    return this.#file.transaction(() => {
      const last = course.get(target) as unknown as Course | undefined;
      const tatUs = last && nextSlotUs(last);
      const grant = grantSlots(tatUs, request);
      if (!grant.granted) return { granted: false, retryAtUs: grant.retryAtUs };
      const { startUs } = grant;
      // Another process may have held the file for seconds.
      const setBack = tatUs !== undefined && startUs < tatUs;
      if (setBack && this.#now() - askedAtMs > maxRequestAgeMs) return { granted: false, retryAtUs: request.nowUs };
      // Counted from where the course began: sums of rounded distances would run ahead of rates such as 3/s.
      const continues = last !== undefined && startUs === tatUs && request.slotUs === last.slotUs;
      if (continues) steer.run(target, last.anchorUs, last.slotUs, last.slots + request.slots);
      else steer.run(target, startUs, request.slotUs, request.slots);
      return { granted: true, startUs };
    });
  }
}

/** Slots given away since the target was last idle or its rate changed. */
interface Course {
  readonly anchorUs: number;
  readonly slotUs: number;
  readonly slots: number;
}

function nextSlotUs({ anchorUs, slotUs, slots }: Course): number {
  return anchorUs + Math.round(slots * slotUs);
}
