import type { Logger } from "../relay/log/log.ts";
import { Outage } from "../relay/log/outage.ts";
import { QueueError } from "../relay/queue/port.ts";
import type { Share } from "../relay/replay/share.ts";
import type { Fate } from "../relay/state/port.ts";

const texts = {
  down: [
    "queue-full",
    "the queue of a target is full: its newest requests are dropped, and counted in the ledger; other targets receive theirs",
  ],
  up: ["queue-free", "the queue of a target takes requests again"],
} as const;

/** The targets whose queues are full. Their requests are dropped, so that they do not fill the ingress queue. Logs each change. */
export class FullQueues {
  readonly #outages: ReadonlyMap<string, Outage>;

  constructor(targets: readonly string[], log: Logger) {
    this.#outages = new Map(targets.map((target) => [target, new Outage(log, { ...texts, about: { target } })]));
  }

  /** Resolves with the share once it is in the queue, or if that is full, with a share of which everything is dropped. */
  async send(target: string, share: Share, work: () => Promise<void>): Promise<Share> {
    try {
      await work();
      if (share.requests.length > 0) this.#outages.get(target)?.recover();
      return share;
    } catch (error) {
      if (!(error instanceof QueueError && error.code === "FULL")) throw error;
      this.#outages.get(target)?.fail(error.message, { fields: { requests: share.requests.length } });
      const dropped = new Map<number, Fate>(share.requests.map(({ index }) => [index, "dropped"]));
      return { requests: [], settlement: new Map([...share.settlement, ...dropped]) };
    }
  }
}
