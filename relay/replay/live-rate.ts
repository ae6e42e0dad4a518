/** A rate that may change at any time. */
export interface LiveRate {
  /** Requests a second; Infinity if there is no limit. */
  readonly ratePerSecond: number;
  /** Reads the current rate, unless it was read less than `maxAgeMs` ago. Throws `StateError` if it is no longer known. */
  refresh(maxAgeMs?: number): Promise<unknown>;
}
