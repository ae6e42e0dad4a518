/** Header with the time at which a worker sent a request, in microseconds since 1970. */
export const sentAtHeader = "x-sent-at-us";

/** The machine's clock in microseconds, the same in all processes. */
export function preciseNowUs(): number {
  return Math.floor((performance.timeOrigin + performance.now()) * 1_000);
}
