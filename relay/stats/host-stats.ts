import type { TargetConfig } from "../config/config.ts";
import { jobIdOf } from "../job/job.ts";
import { type OpenQueue, type QueueBacklog, QueueError } from "../queue/port.ts";
import { whyHeld } from "../replay/live-target.ts";
import { captureKeyPrefix, type Fate } from "../state/port.ts";
import { paceFactor, type TargetControl } from "../state/target-control.ts";
import type { Stores } from "../stores.ts";

/** The answer of a host to `GET /stats`. */
export interface HostStats {
  readonly ingress: IngressStats;
  /** What was fanned out, by agent and run. */
  readonly agents: readonly AgentArrivals[];
  readonly targets: Readonly<Record<string, TargetStats>>;
  /** By name, for captures that packs were fanned out to. Requests that wait for a capture are in the ingress queue. */
  readonly captures?: Readonly<Record<string, CaptureStats>>;
  /**
   * By id, for replay jobs of which anything was fed; `forgotten` has the sum of all jobs that are no longer kept. Requests
   * that wait for a job are in the queue of its target.
   */
  readonly jobs?: Readonly<Record<string, JobStats>>;
}

export interface JobStats {
  /** Requests that were put into the target's queue, and the number of their packs. */
  readonly enqueued: number;
  readonly packs: number;
  readonly fates: Readonly<Record<Fate, number>>;
  /** Dead letters and waiting packs according to the ledger, see `TargetTotals`. */
  readonly letters: number;
  readonly waitingPacks: number;
}

export interface CaptureStats {
  /** Requests fanned out while this capture was configured. */
  readonly enqueued: number;
  readonly fates: Readonly<Record<Fate, number>>;
}

export interface IngressStats {
  /** Messages that wait for the fan-out, one per pack; in SQS an estimate. Undefined if the queue does not answer. */
  readonly messages?: number;
  /** Requests in them. Undefined if the queue does not answer, and in SQS, which does not count requests. */
  readonly waiting?: number;
  /** Packs that cannot be decoded, and the requests in them according to their summaries. */
  readonly deadMessages?: number;
  readonly deadLettered?: number;
  /** Requests that the queue's retention removed before they were fanned out. Undefined in SQS, which does not report it. */
  readonly expired?: number;
  /** Why the queue does not answer. */
  readonly problem?: string;
}

export interface AgentArrivals {
  readonly agent: string;
  readonly requests: number;
  readonly packs: number;
  /** Packs whose sequence number is missing: not arrived yet, or lost. */
  readonly missingPacks: number;
}

export interface TargetStats {
  /** Requests fanned out while this target was configured. */
  readonly enqueued: number;
  /** `expired` includes requests that the queue's retention removed. */
  readonly fates: Readonly<Record<Fate, number>>;
  /** Dead letters and waiting packs according to the ledger, see `TargetTotals`. The queues have at least so many messages. */
  readonly letters: number;
  readonly waitingPacks: number;
  /** Packs in the target's queue; in SQS an estimate. Undefined if the queue does not answer. */
  readonly messages?: number;
  /** Requests in them, counted in the queue and not derived from the ledger. Undefined in SQS. */
  readonly inQueue?: number;
  /** The same counts for its dead letters. */
  readonly deadMessages?: number;
  readonly inDeadLetters?: number;
  /** Requests in dead letters that the queue's retention removed. Undefined in SQS. */
  readonly expiredDeadLetters?: number;
  /** Why the queue does not answer. */
  readonly problem?: string;
  /** Live settings, breaker and slowdown. */
  readonly control: TargetControl;
  readonly live: LiveSettings;
  /** Why nothing is sent to the target now. */
  readonly held?: string;
}

/** The settings in force for a target: configured, or changed since. */
interface LiveSettings {
  readonly ratePerSecond: number | "unlimited";
  readonly concurrency: number;
  /** 0 to 1. */
  readonly sample: number;
  /** Share of the rate at which requests are sent, 1/64 to 1: below 1 if the shadow asked to slow down. */
  readonly paceFactor: number;
}

/** Reads ledger, controls and queues. Throws `StateError`; a queue that does not answer has a `problem` in place of its counts. */
export async function readHostStats(
  stores: Pick<Stores, "ingress" | "queueOf" | "state">,
  targets: readonly TargetConfig[],
  nowMs = Date.now(),
): Promise<HostStats> {
  const ledger = await stores.state.ledger.totals();
  // A target may share the ingress queue: each queue is read once.
  const reads = new Map<OpenQueue, Promise<Partial<QueueBacklog> & { readonly problem?: string }>>();
  const readOnce = (queue: OpenQueue) => {
    const read = reads.get(queue) ?? readQueue(queue);
    reads.set(queue, read);
    return read;
  };
  const byTarget = await Promise.all(
    targets.map(async (target): Promise<[string, TargetStats]> => {
      const {
        requests,
        deadRequests,
        expiredRequests = 0,
        expiredDeadRequests = 0,
        ...queue
      } = await readOnce(stores.queueOf(target.name));
      const { control } = await stores.state.controls.read(target.name);
      const { enqueued = 0, fates = noFates, letters = 0, waitingPacks = 0 } = ledger.targets.get(target.name) ?? {};
      const held = whyHeld(target, control, nowMs);
      return [
        target.name,
        {
          enqueued,
          fates: { ...fates, expired: fates.expired + expiredRequests },
          letters,
          waitingPacks,
          ...queue,
          ...(requests !== undefined && { inQueue: requests }),
          ...(deadRequests !== undefined && { inDeadLetters: deadRequests }),
          ...(expiredDeadRequests > 0 && { expiredDeadLetters: expiredDeadRequests }),
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
    .map(([name, { enqueued, fates }]) => [name.slice(captureKeyPrefix.length), { enqueued, fates }] as const);
  const {
    requests,
    deadRequests,
    expiredRequests,
    expiredDeadRequests: _,
    ...ingress
  } = await readOnce(stores.ingress);
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
    // The counts of the other queues remain valid.
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
