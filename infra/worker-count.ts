import type { TargetConfig } from "../relay/config/config.ts";

// Lambda's limits for MaximumConcurrency of an event source mapping.
const leastWorkers = 2;
const mostWorkers = 1_000;
/** For a target without a rate: its shadow then has up to this times `concurrency` requests in flight. */
const unlimitedWorkers = 10;
// Nearly all shadows answer within this time. A slower one may take longer to reach its rate after an outage.
const answerSeconds = 1;
/** A function of 1,024 MB sends at least this many requests a second. */
const requestsPerWorker = 500;
// The rate can be raised at run time, and some workers may have only just started.
const headroom = 2;

/**
 * How many replay functions run for a target at once. A request may take a second, and a function has `concurrency`
 * requests in flight, so it sends `concurrency` requests a second, and 500 at most:
 *
 *     workers = 2 × rate / min(concurrency / 1 s, 500/s)        2 to 1,000
 *
 * The leases in the table keep the rate whatever this number is; too many functions would wait for slots, and waiting is
 * billed. It is set as MaximumConcurrency and not as reserved concurrency: Lambda then receives no more messages than it has
 * functions for, whereas throttled invocations raise the receive counts of their messages. Reserved concurrency would also
 * take away from the other functions of the account.
 */
export function workersFor({ ratePerSecond, concurrency }: TargetConfig): number {
  if (ratePerSecond === Number.POSITIVE_INFINITY) return unlimitedWorkers;
  const perWorker = Math.min(concurrency / answerSeconds, requestsPerWorker);
  return Math.min(mostWorkers, Math.max(leastWorkers, Math.ceil((headroom * ratePerSecond) / perWorker)));
}
