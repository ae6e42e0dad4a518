import type { SlotLeases } from "../port.ts";
import { grantSlots, maxRequestAgeMs, type SlotGrant, type SlotRequest } from "../slot-lease.ts";
import type { StateFile } from "./sql.ts";

/** Stores the slot leases of each target in one row, its course. */
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
      // This call may have waited for seconds, while another process held the file.
      const setBack = tatUs !== undefined && startUs < tatUs;
      if (setBack && this.#now() - askedAtMs > maxRequestAgeMs) return { granted: false, retryAtUs: request.nowUs };
      // Slots are counted from the start of the course: adding up rounded distances would exceed rates such as 3/s.
      const continues = last !== undefined && startUs === tatUs && request.slotUs === last.slotUs;
      if (continues) steer.run(target, last.anchorUs, last.slotUs, last.slots + request.slots);
      else steer.run(target, startUs, request.slotUs, request.slots);
      return { granted: true, startUs };
    });
  }
}

/** The slots granted since the target was last idle or its rate last changed. */
interface Course {
  readonly anchorUs: number;
  readonly slotUs: number;
  readonly slots: number;
}

function nextSlotUs({ anchorUs, slotUs, slots }: Course): number {
  return anchorUs + Math.round(slots * slotUs);
}
