import type { Fate } from "./state/port.ts";
import type { Stores } from "./stores.ts";

/** What `GET /stats` of a host answers. */
export interface HostStats {
  readonly ingress: {
    readonly waiting: number;
    readonly deadLettered: number;
    /** Removed by the retention of the queue before they were fanned out. */
    readonly expired: number;
  };
  /** By agent and run: what was fanned out of what it had enqueued. */
  readonly agents: readonly AgentArrivals[];
  readonly targets: Readonly<Record<string, TargetStats>>;
}

export interface AgentArrivals {
  readonly agent: string;
  readonly requests: number;
  readonly packs: number;
  /** Packs whose number was passed over: not arrived (yet), or lost. */
  readonly missingPacks: number;
}

export interface TargetStats {
  /** Requests fanned out while this target was configured. */
  readonly enqueued: number;
  /** `expired` includes what the retention of the queue has removed. */
  readonly fates: Readonly<Record<Fate, number>>;
  /** Counted in the target's queue, not derived. */
  readonly inQueue: number;
  /** Counted in the target's dead-letter queue. */
  readonly inDeadLetters: number;
}

export async function readHostStats(stores: Stores): Promise<HostStats> {
  const { agents, targets } = await stores.state.figures();
  const byTarget: Record<string, TargetStats> = {};
  for (const [name, queue] of stores.targets) {
    const figures = targets.get(name);
    const fates = figures?.fates ?? noFates;
    byTarget[name] = {
      enqueued: figures?.enqueued ?? 0,
      fates: { ...fates, expired: fates.expired + queue.expired().requests },
      inQueue: queue.depth().requests,
      inDeadLetters: queue.deadLetters.depth().requests,
    };
  }
  return {
    ingress: {
      waiting: stores.ingress.depth().requests,
      deadLettered: stores.ingress.deadLetters.depth().requests,
      expired: stores.ingress.expired().requests,
    },
    agents: agents.map(({ agent, requests, packs, lastSequence }) => ({
      agent,
      requests,
      packs,
      missingPacks: lastSequence - packs,
    })),
    targets: byTarget,
  };
}

const noFates: Readonly<Record<Fate, number>> = {
  filtered: 0,
  sampledOut: 0,
  "answered.1xx": 0,
  "answered.2xx": 0,
  "answered.3xx": 0,
  "answered.4xx": 0,
  "answered.5xx": 0,
  expired: 0,
  skipped: 0,
  deadLettered: 0,
};
