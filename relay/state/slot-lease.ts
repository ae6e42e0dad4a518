/** A wish for send slots. All times are whole microseconds since 1970. */
export interface SlotRequest {
  readonly nowUs: number;
  /** Distance between two slots: 1,000,000 / rate. */
  readonly slotUs: number;
  readonly slots: number;
}

/** Slot k of a granted lease is at `startUs + k * slotUs`. */
export type SlotGrant =
  | { readonly granted: true; readonly startUs: number }
  | { readonly granted: false; readonly retryAtUs: number };

/** How far ahead of now slots are given away. Slots farther ahead would be lost if their holder died. */
export const horizonUs = 2_000_000;

/** How late a slot may still be used; later it is given up, so that a stall is never made up by a burst. */
export const maxLateUs = 50_000;

/** How far the clocks of two workers may differ without one taking the other's leases for nonsense. */
export const clockToleranceUs = 1_000_000;

/**
 * How long a request may have waited that takes the leases of others for nonsense. Longer, and they may be those of
 * meanwhile: it has to be asked again, with the time of then. Half of the tolerance: the other half is for the clocks.
 */
export const maxRequestAgeMs = clockToleranceUs / 1_000 / 2;

/** How long a lease lasts: shorter ones cost a round trip each and lose slots to it. */
export const leaseUs = 250_000;

/** How many slots to lease at a time. */
export function slotsPerLease(slotUs: number): number {
  return Math.max(1, Math.ceil(leaseUs / slotUs));
}

/**
 * One step of GCRA on the theoretical arrival time of the next slot, `tatUs` (undefined for a target that never had a
 * lease). The store has to take the step atomically: then no two workers ever share a slot.
 */
export function grantSlots(tatUs: number | undefined, request: SlotRequest): SlotGrant & { readonly tatUs: number } {
  const { nowUs, slotUs, slots } = request;
  // No farther for a slow target: a function in Lambda would end before its slot, and give up one slot after the other.
  const latestUs = nowUs + horizonUs;
  // No lease at this rate can have led farther: the rate was lower before, or a clock was set back. Waiting for that time
  // to come could take hours.
  const lost = tatUs !== undefined && tatUs > latestUs + slots * slotUs + clockToleranceUs;
  const startUs = tatUs === undefined || tatUs < nowUs || lost ? nowUs : tatUs;
  if (startUs > latestUs) return { granted: false, retryAtUs: startUs - (latestUs - nowUs), tatUs: startUs };
  return { granted: true, startUs, tatUs: startUs + Math.round(slots * slotUs) };
}
