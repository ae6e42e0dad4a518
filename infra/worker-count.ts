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
 * How many replay functions run for a target at once: twice as many as reach the rate, 2 to 1,000.
 *
 * The workers share the rate, whatever their number is; too many would wait for slots, and waiting is billed. The number is set
 * as MaximumConcurrency and not as reserved concurrency: Lambda then receives no more messages than it has functions for,
 * whereas throttled invocations raise the receive counts of their messages. Reserved concurrency would also take away from the
 * other functions of the account.
 */
export function workersFor(target: TargetConfig): number {
  const { ratePerSecond } = target;
  if (ratePerSecond === Number.POSITIVE_INFINITY) return unlimitedWorkers;
  return Math.min(mostWorkers, Math.max(leastWorkers, Math.ceil((headroom * ratePerSecond) / capacityOf(target, 1))));
}

/**
 * Requests a second that the replay functions of a target send together, if its rate allows it and the shadow answers within a
 * second: workers × min(concurrency / 1 s, 500/s).
 */
export function capacityOf({ concurrency }: Pick<TargetConfig, "concurrency">, workers: number): number {
  return workers * Math.min(concurrency / answerSeconds, requestsPerWorker);
}
