import type { SlotGrant, SlotRequest } from "../pacing.ts";

/** Where the send slots of a target are leased, so that its rate holds across all workers. */
export interface SlotLeases {
  /** Throws `StateError`: without an answer nothing may be sent. */
  lease(target: string, request: SlotRequest): Promise<SlotGrant>;
}

/** What finally became of a request at a target. `answered.2xx` stands for a class of statuses. */
export type Fate =
  | "filtered"
  | "sampledOut"
  | "skipped"
  | "expired"
  | "deadLettered"
  | "answered.1xx"
  | "answered.2xx"
  | "answered.3xx"
  | "answered.4xx"
  | "answered.5xx";

export const fates: readonly Fate[] = [
  "filtered",
  "sampledOut",
  "answered.1xx",
  "answered.2xx",
  "answered.3xx",
  "answered.4xx",
  "answered.5xx",
  "expired",
  "skipped",
  "deadLettered",
];

/** Fates of requests by their index in the pack. */
export type Settlement = ReadonlyMap<number, Fate>;

/** A pack that was fanned out, for the ledger. */
export interface FannedOutPack {
  readonly pack: string;
  readonly agent: string;
  readonly sequence: number;
  readonly requests: number;
  /** Per target: the requests that its queue does not get, with the reason. */
  readonly targets: ReadonlyMap<string, Settlement>;
}

/** The book of what became of every request. Everything recorded twice counts once. */
export interface Ledger {
  recordFanOut(pack: FannedOutPack): Promise<void>;
  /** Notes final fates. A request of a pack that already has one keeps it. */
  settle(target: string, pack: string, settlement: Settlement): Promise<void>;
  /** Takes back a fate, before dead letters are sent again. */
  unsettle(target: string, pack: string, indexes: readonly number[], fate: Fate): Promise<void>;
  /** Indexes of the pack's requests that have a fate at this target. */
  settled(target: string, pack: string): Promise<ReadonlySet<number>>;
  figures(): Promise<LedgerFigures>;
}

export interface LedgerFigures {
  readonly agents: readonly {
    readonly agent: string;
    readonly packs: number;
    readonly requests: number;
    readonly lastSequence: number;
  }[];
  /** `enqueued` counts all requests that were fanned out with this target, also those its queue did not get. */
  readonly targets: ReadonlyMap<string, { readonly enqueued: number; readonly fates: Readonly<Record<Fate, number>> }>;
}

export class StateError extends Error {
  readonly code = "STATE_UNAVAILABLE";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StateError";
  }
}
