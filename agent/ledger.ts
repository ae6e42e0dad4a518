export const dropReasons = [
  "buffer full",
  "oversize",
  "refused by the queue",
  "journal full",
  "journal damaged",
  "shipper failed",
  "given up at exit",
  "worker died",
] as const;

/** Why a request that the agent had seen did not reach the queue. */
export type DropReason = (typeof dropReasons)[number];

/** The agent's book of one run: every request it has seen is in exactly one of the other figures. */
export interface AgentLedger {
  seen: number;
  sampledOut: number;
  filtered: number;
  looped: number;
  /** Messages without a method or a path, by what is missing. */
  readonly unusable: Map<string, number>;
  readonly dropped: Map<DropReason, number>;
  /** In packs that are still being filled, compressed, journaled or sent. */
  pending: number;
  enqueued: number;
  /** Requests of earlier runs that were found in the journal and enqueued by this one; not among `seen`. */
  recovered: number;
}

export function createLedger(): AgentLedger {
  return {
    seen: 0,
    sampledOut: 0,
    filtered: 0,
    looped: 0,
    unusable: new Map(),
    dropped: new Map(),
    pending: 0,
    enqueued: 0,
    recovered: 0,
  };
}

export function addTo<K>(counts: Map<K, number>, key: K, amount = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + amount);
}
