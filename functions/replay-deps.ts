import type { ByteAccount } from "../relay/concurrency/byte-budget.ts";
import type { Logger } from "../relay/log/log.ts";
import type { Outage } from "../relay/log/outage.ts";
import type { QueueSender, Retention } from "../relay/queue/port.ts";
import type { Lane } from "../relay/replay/lane.ts";
import type { Jobs, Ledger } from "../relay/state/port.ts";
import type { MetricLine } from "./metric-line.ts";

/** What the replay of one target works with. */
export interface ReplayDeps {
  readonly lane: Lane;
  /** The queue that the packs are received from: requests to be retried are sent back to it. */
  readonly queue: QueueSender;
  readonly deadLetters: QueueSender;
  /** That of `queue`; without it, requests may wait for ever. */
  readonly retention?: Retention;
  readonly ledger: Ledger;
  readonly jobs: Pick<Jobs, "read">;
  /** Whether the packs come straight from the agents: then no fan-out has recorded them and applied the target's sample. */
  readonly direct?: boolean;
  readonly metrics?: Pick<MetricLine, "count" | "countAt" | "noteProgress">;
  /** Shared with the other parts of the process; by default one of its own. */
  readonly stateOutage?: Outage;
  /** Room for decoded packs; without it there is always some. */
  readonly room?: ByteAccount;
  readonly log: Logger;
}
