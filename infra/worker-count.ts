import type { TargetConfig } from "../relay/config/config.ts";

// What Lambda takes as MaximumConcurrency of an event source mapping.
const leastWorkers = 2;
const mostWorkers = 1_000;
/** Of a target without a rate: what a shadow gets is then its concurrency times this. */
const unlimitedWorkers = 10;
// An answer is seldom later than this. One that is takes longer to get its rate after a breakdown.
const answerSeconds = 1;
/** What a function of 1,024 MB sends a second, with plenty to spare. */
const requestsPerWorker = 500;
// The rate can be raised while everything runs, and a worker may have just begun.
const headroom = 2;

/**
 * How many functions replay for a target at once. A request takes up to a second and `concurrency` of them are under way in
 * each, so a function sends `concurrency` a second, and 500 at most:
 *
 *     workers = 2 × rate / min(concurrency / 1 s, 500/s)        2 to 1,000
 *
 * The rate itself is kept by the leases in the table, whatever the number; too many would wait for slots, and waiting is
 * billed. This is MaximumConcurrency and not reserved concurrency: Lambda then takes no more messages than it has functions
 * for, whereas throttled ones raise the receive counts of theirs; and nothing is taken from what the account has left.
 */
export function workersFor({ ratePerSecond, concurrency }: TargetConfig): number {
  if (ratePerSecond === Number.POSITIVE_INFINITY) return unlimitedWorkers;
  const perWorker = Math.min(concurrency / answerSeconds, requestsPerWorker);
  return Math.min(mostWorkers, Math.max(leastWorkers, Math.ceil((headroom * ratePerSecond) / perWorker)));
}
