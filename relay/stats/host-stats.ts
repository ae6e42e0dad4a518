import type { TargetConfig } from "../config/config.ts";
import { jobIdOf } from "../job/job.ts";
import { type OpenQueue, type QueueBacklog, QueueError } from "../queue/port.ts";
import { whyHeld } from "../replay/live-target.ts";
import { captureKeyPrefix, type Fate } from "../state/port.ts";
import { paceFactor, type TargetControl } from "../state/target-control.ts";
import type { Stores } from "../stores.ts";

/** What `GET /stats` of a host answers. */
export interface HostStats {
  readonly ingress: IngressStats;
  /** By agent and run: what was fanned out of what it had enqueued. */
  readonly agents: readonly AgentArrivals[];
  readonly targets: Readonly<Record<string, TargetStats>>;
  /** By the name of the capture; of those that packs were fanned out with. What waits for one is in the ingress queue. */
  readonly captures?: Readonly<Record<string, CaptureStats>>;
  /**
   * By the id of the replay job, `forgotten` for all that are kept no more; of those that anything was fed of. What waits for
   * them is in the queues of their targets.
   */
  readonly jobs?: Readonly<Record<string, JobStats>>;
}

export interface JobStats {
  /** Requests, and packs of them, that were put into the target's queue. */
  readonly enqueued: number;
  readonly packs: number;
  readonly fates: Readonly<Record<Fate, number>>;
}

export interface CaptureStats {
  /** Requests fanned out while this capture was configured. */
  readonly enqueued: number;
  readonly fates: Readonly<Record<Fate, number>>;
}

export interface IngressStats {
  /** Messages that wait for the fan-out, a pack each; in SQS an estimate. Undefined where the queue does not answer. */
  readonly messages?: number;
  /** Requests in them. Undefined where the queue does not answer, and in SQS, which knows nothing of requests. */
  readonly waiting?: number;
  /** Packs that cannot be decoded, and the requests in them as far as their summaries tell. */
  readonly deadMessages?: number;
  readonly deadLettered?: number;
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
  /** Packs in the target's queue; in SQS an estimate. Undefined where the queue does not answer. */
  readonly messages?: number;
  /** Requests in them, counted there and not derived. Undefined in SQS. */
  readonly inQueue?: number;
  /** The same for its dead letters. */
  readonly deadMessages?: number;
  readonly inDeadLetters?: number;
  /** Why the queue does not answer. */
  readonly problem?: string;
  /** Live settings, breaker and slowdown. */
  readonly control: TargetControl;
  readonly live: LiveSettings;
  /** Why nothing is sent to the target now. */
  readonly held?: string;
}

/** What holds for a target now: as it is configured, or as it was changed since. */
interface LiveSettings {
  readonly ratePerSecond: number | "unlimited";
  readonly concurrency: number;
  /** 0 to 1. */
  readonly sample: number;
  /** The share of the rate that the shadow gets while it has asked for less: 1/64 to 1. */
  readonly paceFactor: number;
}

/** Reads ledger, controls and queues. Throws `StateError`; a queue that does not answer gets a `problem` in place of its counts. */
export async function readHostStats(
  stores: Pick<Stores, "ingress" | "queueOf" | "state">,
  targets: readonly TargetConfig[],
  nowMs = Date.now(),
): Promise<HostStats> {
  const ledger = await stores.state.ledger.totals();
  // The ingress queue may be a target's, too: one look for both.
  const looks = new Map<OpenQueue, Promise<Partial<QueueBacklog> & { readonly problem?: string }>>();
  const look = (queue: OpenQueue) => {
    const looked = looks.get(queue) ?? readQueue(queue);
    looks.set(queue, looked);
    return looked;
  };
  const byTarget = await Promise.all(
    targets.map(async (target): Promise<[string, TargetStats]> => {
      const { requests, deadRequests, expiredRequests = 0, ...queue } = await look(stores.queueOf(target.name));
      const { control } = await stores.state.controls.read(target.name);
      const { enqueued = 0, fates = noFates } = ledger.targets.get(target.name) ?? {};
      const held = whyHeld(target, control, nowMs);
      return [
        target.name,
        {
          enqueued,
          fates: { ...fates, expired: fates.expired + expiredRequests },
          ...queue,
          ...(requests !== undefined && { inQueue: requests }),
          ...(deadRequests !== undefined && { inDeadLetters: deadRequests }),
          control,
          live: toLiveSettings(target, control, nowMs),
          ...(held !== undefined && { held }),
        },
      ];
    }),
  );
  const agents = ledger.agents.filter(({ agent }) => jobIdOf(agent) === undefined);
  const jobs = ledger.agents.flatMap(({ agent, packs }): [string, JobStats][] => {
    const [id, totals] = [jobIdOf(agent), ledger.targets.get(agent)];
    return id === undefined || !totals ? [] : [[id, { ...totals, packs }]];
  });
  const captures = [...ledger.targets]
    .filter(([name]) => name.startsWith(captureKeyPrefix))
    .map(([name, stats]) => [name.slice(captureKeyPrefix.length), stats] as const);
  const { requests, deadRequests, expiredRequests, ...ingress } = await look(stores.ingress);
  return {
    ingress: {
      ...ingress,
      ...(requests !== undefined && { waiting: requests }),
      ...(deadRequests !== undefined && { deadLettered: deadRequests }),
      ...(expiredRequests !== undefined && { expired: expiredRequests }),
    },
    agents: agents.map(({ agent, requests: arrived, packs, lastSequence }) => ({
      agent,
      requests: arrived,
      packs,
      missingPacks: lastSequence - packs,
    })),
    targets: Object.fromEntries(byTarget),
    ...(jobs.length > 0 && { jobs: Object.fromEntries(jobs) }),
    ...(captures.length > 0 && { captures: Object.fromEntries(captures) }),
  };
}

function toLiveSettings(target: TargetConfig, control: TargetControl, nowMs: number): LiveSettings {
  const { ratePerSecond = target.ratePerSecond, concurrency, sample } = control.settings ?? {};
  return {
    // JSON has no Infinity.
    ratePerSecond: ratePerSecond === Number.POSITIVE_INFINITY ? "unlimited" : ratePerSecond,
    concurrency: concurrency ?? target.concurrency,
    sample: sample ?? target.sample.fraction,
    paceFactor: paceFactor(control, nowMs),
  };
}

async function readQueue(queue: OpenQueue): Promise<Partial<QueueBacklog> & { readonly problem?: string }> {
  try {
    return await queue.backlog();
  } catch (error) {
    // Only this queue's counts are missing.
    if (error instanceof QueueError) return { problem: error.message };
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
  captured: 0,
  deadLettered: 0,
  cancelled: 0,
};
