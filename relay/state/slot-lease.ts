/** A request for send slots. Times are whole microseconds since 1970. */
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

/** A lease starts at most this far ahead of now: if a worker dies, the slots that it leased are lost. */
export const horizonUs = 2_000_000;

/** A slot may be used this late. Later it is given up, so that no burst follows a stall. */
export const maxLateUs = 50_000;

/** How far the clocks of two workers may differ before one considers the leases of the other implausible and resets them. */
export const clockToleranceUs = 1_000_000;

/**
 * A request may reset the leases of others as implausible only if it waited no longer than this. If it waited longer, they may
 * have been granted meanwhile: the worker must ask again with the current time. Half of the tolerance, because the other
 * half is for the difference between the clocks.
 */
export const maxRequestAgeMs = clockToleranceUs / 1_000 / 2;

/** Duration of a lease. Each lease costs a round trip, so shorter leases would lose slots. */
export const leaseUs = 250_000;

/** How many slots to lease at a time. */
export function slotsPerLease(slotUs: number): number {
  return Math.max(1, Math.ceil(leaseUs / slotUs));
}

/**
 * One step of GCRA on the theoretical arrival time of the next slot, `tatUs` (undefined if the target never had a lease).
 * The store must make the step atomically, so that no two workers ever share a slot.
 */
export function grantSlots(tatUs: number | undefined, request: SlotRequest): SlotGrant & { readonly tatUs: number } {
  const { nowUs, slotUs, slots } = request;
  // The same horizon for slow targets: a Lambda function would end before its slot and give up one slot after the other.
  const latestUs = nowUs + horizonUs;
  // No lease at this rate can lead that far: the rate was lower before, or a clock was set back. Waiting for that time could
  // take hours.
  const lost = tatUs !== undefined && tatUs > latestUs + slots * slotUs + clockToleranceUs;
  const startUs = tatUs === undefined || tatUs < nowUs || lost ? nowUs : tatUs;
  if (startUs > latestUs) return { granted: false, retryAtUs: startUs - (latestUs - nowUs), tatUs: startUs };
  return { granted: true, startUs, tatUs: startUs + Math.round(slots * slotUs) };
}
