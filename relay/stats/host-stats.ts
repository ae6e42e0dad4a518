import type { TargetConfig } from "../config/config.ts";
import { jobIdOf } from "../job/job.ts";
import { type OpenQueue, type QueueBacklog, QueueError } from "../queue/port.ts";
import { isMissingQueue } from "../queue/sqs-error.ts";
import { targetsIn } from "../removed-queues.ts";
import { whyHeld } from "../replay/live-target.ts";
import { missingPacksOf } from "../state/ended-runs.ts";
import { captureKeyPrefix, type EndedRuns, type Fate, type LedgerTotals, type TargetTotals } from "../state/port.ts";
import { paceFactor, type TargetControl } from "../state/target-control.ts";
import type { Stores } from "../stores.ts";

/** The answer of a host to `GET /stats`. */
export interface HostStats {
  readonly ingress: IngressStats;
  /** What was fanned out, by agent and run. */
  readonly agents: readonly AgentArrivals[];
  /** The same for runs that nothing has arrived from for long, added up by agent. Absent if there are none. */
  readonly ended?: readonly EndedRuns[];
  readonly targets: Readonly<Record<string, TargetStats>>;
  /** Targets that are no longer in the configuration, but have requests that wait or are dead letters. Absent if there are none. */
  readonly removed?: Readonly<Record<string, SettledStats>>;
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
  readonly letters?: number;
  readonly waitingPacks?: number;
}

export interface CaptureStats {
  /** Requests fanned out while this capture was configured. */
  readonly enqueued: number;
  readonly fates: Readonly<Record<Fate, number>>;
  /** Packs with a request that has no fate. A host of an older version omits them. */
  readonly waitingPacks?: number;
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
  /** Files of the queue that were damaged and set aside, with an unknown number of requests. Absent if there are none. */
  readonly damaged?: readonly string[];
  /** What the queue and its dead letters occupy on disk, and the most that they may. Undefined in SQS. */
  readonly bytes?: number;
  readonly maxBytes?: number;
}

export interface AgentArrivals {
  readonly agent: string;
  readonly requests: number;
  readonly packs: number;
  /** Packs whose sequence number is missing: not arrived yet, or lost. */
  readonly missingPacks: number;
}

/** What became of the requests of a target. */
export interface SettledStats {
  /** Requests fanned out while this target was configured. */
  readonly enqueued: number;
  /** `expired` includes requests that the queue's retention removed. */
  readonly fates: Readonly<Record<Fate, number>>;
  /** Dead letters and waiting packs according to the ledger, see `TargetTotals`. A host of an older version omits them. */
  readonly letters?: number;
  readonly waitingPacks?: number;
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
  /** As in `IngressStats`. */
  readonly damaged?: readonly string[];
  readonly bytes?: number;
  readonly maxBytes?: number;
}

export interface TargetStats extends SettledStats {
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

/**
 * Reads ledger, controls and queues. Throws `StateError`; a queue that does not answer has a `problem` in place of its counts.
 *
 * @param runs agents' runs that are listed one by one even if they have ended
 */
export async function readHostStats(
  stores: Pick<Stores, "ingress" | "targets" | "queueOf" | "removed" | "state" | "damagedFilesOf">,
  targets: readonly TargetConfig[],
  runs: readonly string[] = [],
  nowMs = Date.now(),
): Promise<HostStats> {
  const ledger = await stores.state.ledger.totals(runs);
  // A target may share the ingress queue: each queue is read once.
  const reads = new Map<OpenQueue, Promise<QueueCounts>>();
  const readOnce = (queue: OpenQueue) => {
    const read = reads.get(queue) ?? readQueue(queue);
    reads.set(queue, read);
    return read;
  };
  const byTarget = await Promise.all(
    targets.map(async (target): Promise<[string, TargetStats]> => {
      const settled = toSettled(ledger.targets.get(target.name), await readOnce(stores.queueOf(target.name)));
      const { control } = await stores.state.controls.read(target.name);
      const held = whyHeld(target, control, nowMs);
      return [
        target.name,
        {
          ...settled,
          ...damagedOf(stores, target.name),
          control,
          live: toLiveSettings(target, control, nowMs),
          ...(held !== undefined && { held }),
        },
      ];
    }),
  );
  const removed = await readRemoved(stores, ledger);
  const agents = ledger.agents.filter(({ agent }) => jobIdOf(agent) === undefined);
  const jobs = ledger.agents.flatMap(({ agent, packs }): [string, JobStats][] => {
    const [id, totals] = [jobIdOf(agent), ledger.targets.get(agent)];
    return id === undefined || !totals ? [] : [[id, { ...totals, packs }]];
  });
  const captures = [...ledger.targets]
    .filter(([name]) => name.startsWith(captureKeyPrefix))
    .map(
      ([name, { enqueued, fates, waitingPacks }]) =>
        [name.slice(captureKeyPrefix.length), { enqueued, fates, waitingPacks }] as const,
    );
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
      ...damagedOf(stores),
      ...(requests !== undefined && { waiting: requests }),
      ...(deadRequests !== undefined && { deadLettered: deadRequests }),
      ...(expiredRequests !== undefined && { expired: expiredRequests }),
    },
    agents: agents.map(({ agent, requests: arrived, packs, lastSequence }) => ({
      agent,
      requests: arrived,
      packs,
      missingPacks: missingPacksOf({ packs, lastSequence }),
    })),
    ...(ledger.ended && { ended: ledger.ended }),
    targets: Object.fromEntries(byTarget),
    ...(removed.length > 0 && { removed: Object.fromEntries(removed) }),
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

/**
 * The targets that are no longer in the configuration, but have requests that wait or are dead letters, by name; also those whose
 * queue is gone, if the ledger misses any of their requests.
 */
async function readRemoved(
  stores: Pick<Stores, "targets" | "removed" | "damagedFilesOf">,
  ledger: LedgerTotals,
): Promise<readonly [string, SettledStats][]> {
  const { targets, removed } = stores;
  const known = targetsIn(ledger).filter((name) => !targets.has(name));
  const queues = await removed.find(ledger);
  const all = await Promise.all(
    [...new Set([...queues.keys(), ...known])].sort().map(async (name): Promise<[string, SettledStats]> => {
      const queue = queues.get(name);
      const counts = queue === undefined ? noMessages : await readQueue(queue, noMessages);
      return [name, { ...toSettled(ledger.targets.get(name), counts), ...damagedOf(stores, name) }];
    }),
  );
  return all.filter(([, { enqueued, fates, messages = 0, deadMessages = 0, expiredDeadLetters = 0 }]) => {
    const ended = Object.values(fates).reduce((sum, count) => sum + count, 0) - fates.deadLettered;
    // The retention of the dead letters ends without a fate.
    const left = enqueued - ended;
    return messages + deadMessages > 0 || left < 0 || left > expiredDeadLetters;
  });
}

function damagedOf(stores: Pick<Stores, "damagedFilesOf">, target?: string): Pick<SettledStats, "damaged"> {
  const damaged = stores.damagedFilesOf?.(target) ?? [];
  return damaged.length > 0 ? { damaged } : {};
}

type QueueCounts = Partial<QueueBacklog> & { readonly problem?: string };

const noMessages: QueueCounts = { messages: 0, requests: 0, deadMessages: 0, deadRequests: 0 };

function toSettled(totals: TargetTotals | undefined, counts: QueueCounts): SettledStats {
  const { enqueued = 0, fates = noFates, letters = 0, waitingPacks = 0 } = totals ?? {};
  const { requests, deadRequests, expiredRequests = 0, expiredDeadRequests = 0, ...queue } = counts;
  return {
    enqueued,
    fates: { ...fates, expired: fates.expired + expiredRequests },
    letters,
    waitingPacks,
    ...queue,
    ...(requests !== undefined && { inQueue: requests }),
    ...(deadRequests !== undefined && { inDeadLetters: deadRequests }),
    ...(expiredDeadRequests > 0 && { expiredDeadLetters: expiredDeadRequests }),
  };
}

/** @param ifMissing the counts of a queue that does not exist; by default that is a problem */
async function readQueue(queue: OpenQueue | QueueError, ifMissing?: QueueCounts): Promise<QueueCounts> {
  try {
    if (queue instanceof QueueError) throw queue;
    return await queue.backlog();
  } catch (error) {
    if (!(error instanceof QueueError)) throw error;
    if (ifMissing && isMissingQueue(error)) return ifMissing;
    // The counts of the other queues remain valid.
    return { problem: error.message };
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
  "answered.malformed": 0,
  expired: 0,
  skipped: 0,
  captured: 0,
  deadLettered: 0,
  cancelled: 0,
  moved: 0,
  discarded: 0,
  dropped: 0,
};
