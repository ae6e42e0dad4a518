import type { Archive } from "../../relay/archive/port.ts";
import type { Logger } from "../../relay/log/log.ts";
import type { QueueSender } from "../../relay/queue/port.ts";
import type { LiveTarget } from "../../relay/replay/live-target.ts";
import type { Jobs, Ledger } from "../../relay/state/port.ts";
import type { MetricLine } from "../metric-line.ts";

/** What a feeder works on, and how far ahead. */
export interface FeederOptions {
  readonly jobs: Jobs;
  readonly ledger: Pick<Ledger, "recordFanOut" | "totals">;
  readonly targets: readonly LiveTarget[];
  readonly queueOf: (target: string) => QueueSender;
  /** By the name of the capture. */
  readonly archives: ReadonlyMap<string, Archive>;
  /** How far ahead of its time a pack is put into the queue. */
  readonly lookAheadMs: number;
  /** How long before its time a pack comes out of the queue. */
  readonly leadMs: number;
  /** How long after its death another process goes on with what this one feeds. */
  readonly leaseMs: number;
  /** Most requests of a job that wait at a target without a limit. */
  readonly maxWaiting: number;
  /** How often the feeder looks for jobs while there are none; each second by default. */
  readonly idleMs?: number;
  readonly metrics?: Pick<MetricLine, "count">;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}
