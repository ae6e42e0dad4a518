import type { Archive } from "../../relay/archive/port.ts";
import type { Logger } from "../../relay/log/log.ts";
import type { QueueEntrance } from "../../relay/queue/port.ts";
import type { LiveTarget } from "../../relay/replay/live-target.ts";
import type { Jobs, Ledger } from "../../relay/state/port.ts";
import type { MetricLine } from "../metric-line.ts";

/** The stores and targets of a feeder, and its limits. */
export interface FeederOptions {
  readonly jobs: Pick<Jobs, "list" | "read" | "write">;
  readonly ledger: Pick<Ledger, "recordFanOut" | "totals">;
  readonly targets: readonly LiveTarget[];
  readonly queueOf: (target: string) => QueueEntrance;
  /** By capture name. */
  readonly archives: ReadonlyMap<string, Archive>;
  /** How long before it is due a pack is put into the queue. */
  readonly lookAheadMs: number;
  /** How long before it is due a pack becomes visible in the queue. */
  readonly leadMs: number;
  /** Lifetime of a job's lease: after this process dies, another one continues its jobs when their leases have expired. */
  readonly leaseMs: number;
  /** Maximum number of a job's requests that wait at a target, whatever the target's rate. */
  readonly maxWaiting: number;
  /** Interval at which the feeder lists the jobs while there are none; a second by default. */
  readonly idleMs?: number;
  readonly metrics?: Pick<MetricLine, "count">;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}
