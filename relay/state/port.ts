import type { ForeignJob, Job } from "../job/job.ts";
import type { OpenRound, RoundTable, SlotRound } from "./slot-round.ts";
import type { TargetControl } from "./target-control.ts";

/** Deals out the send slots of a target to its workers, so that its rate holds across all of them. Throws `StateError`. */
export interface SlotRounds {
  /** Undefined if the target never had a round. */
  read(target: string): Promise<RoundTable | undefined>;
  /**
   * Takes a seat in the round after the newest one: the seat is `entered - 1` of the returned table. Undefined if the
   * target never had a round. If it throws, a seat may have been taken; its slots are then not used.
   */
  enter(target: string): Promise<RoundTable | undefined>;
  /**
   * Makes `next` the newest round if that is still `last`; otherwise another worker was first, and nothing is written. Its
   * seats are those that workers have entered for, and one for the caller if `self` is set.
   */
  close(target: string, last: SlotRound, next: OpenRound, self: boolean): Promise<ClosedRound>;
  /** The same, for a round whose only seat is the caller's. `last` is undefined if the target never had a round. */
  open(target: string, last: SlotRound | undefined, next: SlotRound): Promise<ClosedRound>;
}

export interface ClosedRound {
  /** True if the caller wrote the round. If it asked for a seat, it has the last one. */
  readonly written: boolean;
  /** The newest round; undefined if the state has lost it, and nothing was written. */
  readonly table: RoundTable | undefined;
}

/**
 * The final outcome of a request at a target. `answered.2xx` is a class of statuses, `answered.malformed` an answer
 * that is not HTTP. `captured` is the outcome at a capture, see `captureKey`. `moved`: an operator sent it to another target
 * instead; `discarded`: an operator gave it up; `dropped`: its target's queue was full.
 */
export type Fate =
  | "filtered"
  | "sampledOut"
  | "skipped"
  | "captured"
  | "expired"
  | "deadLettered"
  | "cancelled"
  | "moved"
  | "discarded"
  | "dropped"
  | "answered.1xx"
  | "answered.2xx"
  | "answered.3xx"
  | "answered.4xx"
  | "answered.5xx"
  | "answered.malformed";

export const fates: readonly Fate[] = [
  "filtered",
  "sampledOut",
  "answered.1xx",
  "answered.2xx",
  "answered.3xx",
  "answered.4xx",
  "answered.5xx",
  "answered.malformed",
  "expired",
  "skipped",
  "captured",
  "deadLettered",
  "cancelled",
  "moved",
  "discarded",
  "dropped",
];

/** The name of a capture in the ledger, which lists captures among the targets. */
export function captureKey(capture: string): string {
  return `${captureKeyPrefix}${capture}`;
}

/** Cannot collide with a target: target names contain no slash. */
export const captureKeyPrefix = "capture/";

/** The states of one pack's requests at one target, read and written by the functions of fate-sheet.ts. */
export type FateSheet = Uint8Array;

/** The fates of requests, by their index in the pack. */
export type Settlement = ReadonlyMap<number, Fate>;

/** A pack that was fanned out, for the ledger. */
export interface FannedOutPack {
  readonly pack: string;
  readonly agent: string;
  readonly sequence: number;
  readonly requests: number;
  /** By target: the requests that are not sent to its queue, with the reason. */
  readonly targets: ReadonlyMap<string, Settlement>;
}

/** The fate of every request. Whatever is recorded twice counts once. */
export interface Ledger {
  /** True if recording several packs at the same moment costs less than one after the other. */
  readonly sharesWrites?: boolean;
  recordFanOut(pack: FannedOutPack): Promise<void>;
  /**
   * Notes final fates. A request that already has a fate keeps it. One call with `deadLettered` is one dead letter.
   *
   * @param redrives how often the requests had been redriven when they were sent, default 0. Says nothing about requests that
   *   were redriven more often since: their newest copy decides.
   */
  settle(target: string, pack: string, settlement: Settlement, redrives?: number): Promise<void>;
  /**
   * Withdraws `deadLettered` from requests of which a copy was sent by the `redrives`-th redrive, and `moved` from those that
   * come back. Requests with another fate keep it. If the pack was not fanned out here, they count as enqueued.
   */
  reopen(target: string, pack: string, indexes: readonly number[], redrives: number): Promise<void>;
  /**
   * Notes that copies of requests were sent to another target by the `redrives`-th redrive: here they are `moved`, if `settle`
   * would note that, and there they are reopened.
   */
  move(from: string, to: string, pack: string, indexes: readonly number[], redrives: number): Promise<void>;
  /** The targets that a pack was fanned out to. */
  fannedOut(pack: string): Promise<ReadonlySet<string>>;
  /** The states of the pack's requests at this target; an empty sheet if nothing is known. */
  sheet(target: string, pack: string): Promise<FateSheet>;
  /**
   * The sums of everything that was ever recorded.
   *
   * @param runs agents' runs that are to be listed one by one even if they have ended
   */
  totals(runs?: readonly string[]): Promise<LedgerTotals>;
}

export interface LedgerTotals {
  /** One for each run of an agent, except those in `ended`, and one for each replay job. */
  readonly agents: readonly (RunTotals & { readonly agent: string })[];
  /** The runs that nothing has arrived from for long, added up by agent. Absent if there are none. */
  readonly ended?: readonly EndedRuns[];
  /** `enqueued` counts all requests that were fanned out for this target, including those that its queue did not receive. */
  readonly targets: ReadonlyMap<string, TargetTotals>;
}

export interface RunTotals {
  readonly packs: number;
  readonly requests: number;
  readonly lastSequence: number;
}

export interface EndedRuns {
  /** Name of the agent; `formerAgents` for all agents that are gone. */
  readonly agent: string;
  readonly runs: number;
  readonly packs: number;
  readonly requests: number;
  readonly missingPacks: number;
}

export interface TargetTotals {
  readonly enqueued: number;
  readonly fates: Readonly<Record<Fate, number>>;
  /** Dead letters that hold the requests with the fate `deadLettered`: at least so many are in the dead-letter queue. */
  readonly letters: number;
  /** Fanned-out packs with a request that has no fate: at least so many messages are in the target's queue. */
  readonly waitingPacks: number;
}

/** What the ledger adds up for each target: requests by fate, dead letters, and packs with requests that have no fate. */
export type LedgerCount = Fate | "letters" | "waitingPacks";

/** The control of each target, which all its workers share: live settings, breaker, slowdown. */
export interface Controls {
  /** The control as last written; `{}` and version 0 if none was ever written. Throws `StateError`. */
  read(target: string): Promise<VersionedControl>;
  /** Writes a control derived from the given version. Writes nothing and returns false if another writer was first. */
  write(target: string, control: TargetControl, version: number): Promise<boolean>;
}

export interface VersionedControl {
  readonly control: TargetControl;
  readonly version: number;
  /** What was stored out of bounds and is read in another way, in words. */
  readonly repairs?: readonly string[];
}

/**
 * Counters by target and minute, for people and dashboards, kept for 14 days. Unlike the ledger they are not exact: a crash
 * loses the counts of the last seconds.
 */
export interface Figures {
  /**
   * A call that throws may have counted. If it is repeated with the same `part`, it counts once.
   *
   * @param minuteMs start of the minute, in milliseconds since 1970. Counter names are letters, digits and `.`.
   */
  add(target: string, minuteMs: number, counts: ReadonlyMap<string, number>, part?: FigurePart): Promise<void>;
  /** The minutes that have counters, in order; `untilMs` is not included. */
  read(target: string, fromMs: number, untilMs: number): Promise<readonly MinuteFigures[]>;
}

/** Identifies the counters of one call. */
export interface FigurePart {
  /** The process that counted. */
  readonly writer: string;
  /** Grows with each call of the writer: a call is made only after the one before it has succeeded. */
  readonly number: number;
}

export interface MinuteFigures {
  readonly minuteMs: number;
  readonly counts: ReadonlyMap<string, number>;
}

/** The replay jobs: what each one replays, and its progress. */
export interface Jobs {
  /**
   * The jobs in the order of their ids, and so of creation, without foreign ones. Ended jobs are kept for 30 days. Throws
   * `StateError`.
   */
  list(): Promise<readonly VersionedJob[]>;
  /** The jobs that only another version of spoa-relay understands. Throws `StateError`. */
  foreign(): Promise<readonly ForeignJob[]>;
  /** Throws `StateError`, and `JobError` if the job is foreign. */
  read(id: string): Promise<VersionedJob | undefined>;
  /**
   * Writes a job that was derived from the given version, 0 for a new job; the stored version becomes the next number.
   * Writes nothing and returns false if another writer was first.
   */
  write(job: Job, version: number): Promise<boolean>;
}

export interface VersionedJob {
  readonly job: Job;
  readonly version: number;
  /** What was stored out of bounds and is read in another way, in words. */
  readonly repairs?: readonly string[];
}

/** Everything that the workers of a deployment share. */
export interface State {
  readonly rounds: SlotRounds;
  readonly ledger: Ledger;
  readonly controls: Controls;
  readonly figures: Figures;
  readonly jobs: Jobs;
  /** Adds up what processes and agents that have ended left behind, a part of it in each call; call it about once a minute. */
  fold(): Promise<void>;
  close(): void | Promise<void>;
}

export class StateError extends Error {
  readonly code = "STATE_UNAVAILABLE";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StateError";
  }
}
