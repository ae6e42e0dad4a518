import { QueueError } from "./queue/port.ts";
import type { Fate } from "./state/port.ts";
import type { Stores } from "./stores.ts";

/** What `GET /stats` of a host answers. */
export interface HostStats {
  readonly ingress: IngressStats;
  /** By agent and run: what was fanned out of what it had enqueued. */
  readonly agents: readonly AgentArrivals[];
  readonly targets: Readonly<Record<string, TargetStats>>;
}

export interface IngressStats {
  /** Messages that wait for the fan-out, a pack each; in SQS an estimate. Undefined where the queue does not answer. */
  readonly messages?: number;
  /** Requests in them. Undefined where the queue does not answer, and in SQS, which knows nothing of requests. */
  readonly waiting?: number;
  /** Requests in packs that cannot be decoded, as far as their summaries tell, and the packs. */
  readonly deadLettered: number;
  readonly deadMessages: number;
  /** Requests that the retention of the queue removed before they were fanned out. Undefined in SQS, which tells nobody. */
  readonly expired?: number;
  /** Why the queue does not answer. */
  readonly problem?: string;
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
    ingress: await readIngress(stores),
    agents: agents.map(({ agent, requests, packs, lastSequence }) => ({
      agent,
      requests,
      packs,
      missingPacks: lastSequence - packs,
    })),
    targets: byTarget,
  };
}

async function readIngress({ ingress, localIngress }: Stores): Promise<IngressStats> {
  const { messages: deadMessages, requests: deadLettered } = localIngress.deadLetters.depth();
  try {
    const { messages, requests, expiredRequests } = await ingress.depth();
    return {
      messages,
      ...(requests !== undefined && { waiting: requests }),
      deadLettered,
      deadMessages,
      ...(expiredRequests !== undefined && { expired: expiredRequests }),
    };
  } catch (error) {
    // All other figures are as good as ever.
    if (error instanceof QueueError) return { deadLettered, deadMessages, problem: error.message };
    throw error;
  }
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
