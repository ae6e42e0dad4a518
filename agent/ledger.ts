import { unreadableReasons } from "../relay/redaction/body-mask.ts";
import type { Unreplayable } from "../relay/rules/unreplayable.ts";

export const dropReasons = [
  "buffer full",
  "oversize",
  "refused by the queue",
  "queue full",
  "journal full",
  "journal damaged",
  "shipper failed",
  "given up at exit",
  "worker died",
] as const;

/** Why a request that the agent had seen did not reach the queue. */
export type DropReason = (typeof dropReasons)[number];

export const unreplayableReasons = ["CONNECT", "OPTIONS *"] as const satisfies readonly Unreplayable[];

type UnreplayableReason = (typeof unreplayableReasons)[number];

export const omitReasons = ["rule", ...unreadableReasons] as const;

/** Why redaction left out a body: a rule of `dropBodies`, or a body that cannot be read although rules for bodies apply to it. */
export type OmitReason = (typeof omitReasons)[number];

/** The agent's ledger of one run: every request in `seen` is in exactly one other count, and none in `recovered`. */
export interface AgentLedger {
  seen: number;
  sampledOut: number;
  filtered: number;
  looped: number;
  /** WebSockets and other connections that stop being HTTP. */
  upgrade: number;
  /** Other requests that cannot be replayed, by reason: `CONNECT` or `OPTIONS *`. */
  readonly unreplayable: Map<UnreplayableReason, number>;
  /** Messages that are not a usable request, by reason, such as `no method`. */
  readonly unusable: Map<string, number>;
  readonly dropped: Map<DropReason, number>;
  /** In packs that are still being filled, compressed, journaled or sent. */
  pending: number;
  enqueued: number;
  /** Requests of earlier runs that this run found in the journal and enqueued; not in `seen`. */
  recovered: number;
  /** Bodies that redaction left out, by reason. Their requests are in the counts above. */
  readonly omittedBodies: Map<OmitReason, number>;
}

export function createLedger(): AgentLedger {
  return {
    seen: 0,
    sampledOut: 0,
    filtered: 0,
    looped: 0,
    upgrade: 0,
    unreplayable: new Map(),
    unusable: new Map(),
    dropped: new Map(),
    pending: 0,
    enqueued: 0,
    recovered: 0,
    omittedBodies: new Map(),
  };
}

export function addTo<K>(counts: Map<K, number>, key: K, amount = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + amount);
}
