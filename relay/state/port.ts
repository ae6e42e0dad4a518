import type { Job } from "../job/job.ts";
import type { SlotGrant, SlotRequest } from "./slot-lease.ts";
import type { TargetControl } from "./target-control.ts";

/** Where the send slots of a target are leased, so that its rate holds across all workers. */
export interface SlotLeases {
  /** Throws `StateError`: without an answer nothing may be sent. */
  take(target: string, request: SlotRequest): Promise<SlotGrant>;
}

/**
 * What finally became of a request at a target. `answered.2xx` stands for a class of statuses; `captured` is what becomes of
 * it at a capture, see `captureKey`.
 */
export type Fate =
  | "filtered"
  | "sampledOut"
  | "skipped"
  | "captured"
  | "expired"
  | "deadLettered"
  | "cancelled"
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
  "captured",
  "deadLettered",
  "cancelled",
];

/** Under which name the ledger has a capture: beside the targets, and like one. */
export function captureKey(capture: string): string {
  return `${captureKeyPrefix}${capture}`;
}

/** No name of a target has a slash. */
export const captureKeyPrefix = "capture/";

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
  /** Targets that a pack was fanned out to. */
  fannedOut(pack: string): Promise<ReadonlySet<string>>;
  /** Indexes of the pack's requests that have a fate at this target. */
  settled(target: string, pack: string): Promise<ReadonlySet<number>>;
  /** The sums of everything that was ever recorded. */
  totals(): Promise<LedgerTotals>;
}

export interface LedgerTotals {
  readonly agents: readonly {
    readonly agent: string;
    readonly packs: number;
    readonly requests: number;
    readonly lastSequence: number;
  }[];
  /** `enqueued` counts all requests that were fanned out with this target, also those its queue did not get. */
  readonly targets: ReadonlyMap<string, { readonly enqueued: number; readonly fates: Readonly<Record<Fate, number>> }>;
}

/** What all workers know of a target beside its configuration: live settings, breaker, slowdown. */
export interface Controls {
  /** As last written; `{}` and version 0 for a target of which nothing was ever written. Throws `StateError`. */
  read(target: string): Promise<VersionedControl>;
  /** Writes what was made of the given version; false, and nothing is written, if another writer was first. */
  write(target: string, control: TargetControl, version: number): Promise<boolean>;
}

export interface VersionedControl {
  readonly control: TargetControl;
  readonly version: number;
}

/**
 * Counters by target and minute, for people and dashboards, kept for 14 days. Unlike the ledger they are not exact: a crash
 * loses the last seconds of them, and a call that timed out may have counted.
 */
export interface Figures {
  /** @param minuteMs start of the minute since 1970. Names of counters are letters, digits and `.`. */
  add(target: string, minuteMs: number, counts: ReadonlyMap<string, number>): Promise<void>;
  /** The minutes that have any, in their order; `untilMs` is not included. */
  read(target: string, fromMs: number, untilMs: number): Promise<readonly MinuteFigures[]>;
}

export interface MinuteFigures {
  readonly minuteMs: number;
  readonly counts: ReadonlyMap<string, number>;
}

/** The replays of captures: what each is to do, and how far it is. */
export interface Jobs {
  /** In the order of their ids, which is that of their creation. Of those that have ended: for 30 days. Throws `StateError`. */
  list(): Promise<readonly VersionedJob[]>;
  read(id: string): Promise<VersionedJob | undefined>;
  /**
   * Writes what was made of the given version, 0 for a new job; it has the next number then. False, and nothing is written,
   * if another writer was first.
   */
  write(job: Job, version: number): Promise<boolean>;
}

export interface VersionedJob {
  readonly job: Job;
  readonly version: number;
}

/** All that the workers of an engine share. */
export interface State {
  readonly leases: SlotLeases;
  readonly ledger: Ledger;
  readonly controls: Controls;
  readonly figures: Figures;
  readonly jobs: Jobs;
  /** Tidies up after processes that have ended, to be called each minute or so. A state without it needs no tidying. */
  fold?(): Promise<void>;
  close(): void | Promise<void>;
}

export class StateError extends Error {
  readonly code = "STATE_UNAVAILABLE";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StateError";
  }
}
