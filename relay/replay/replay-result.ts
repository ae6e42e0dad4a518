import type { JobGate } from "../job/job-gate.ts";
import type { PackedRequest } from "../pack/pack.ts";
import type { Fate } from "../state/port.ts";

/** What became of a pack's requests beyond those that `onSettled` was told. */
export interface ReplayResult {
  /** Not delivered: to be tried again after `delayMs`. */
  readonly again: readonly PackedRequest[];
  readonly delayMs: number;
  /** Not sent, since an earlier request of their key is tried again: to wait as long, behind it. */
  readonly behind: readonly PackedRequest[];
  /** Why the first of them was not delivered. */
  readonly reason?: string;
  /** Never to be delivered, by reason. */
  readonly dead: ReadonlyMap<string, readonly PackedRequest[]>;
  /**
   * Without an outcome, because the signal was raised, the transport closed, the target held, no slots leased, or their time
   * has not come.
   */
  readonly unsent: readonly PackedRequest[];
  /** How long they should wait if their time has not come. */
  readonly laterMs?: number;
  /** Why no slots could be leased. */
  readonly failure?: Error;
}

/** How the requests of a pack are to be replayed. */
export interface ReplayOptions {
  /** Raised when nothing more may be sent; requests under way end when the transport is closed. */
  readonly signal: AbortSignal;
  /** Whether to wait while the target is held (paused, outside its window, breaker open), or to leave the rest unsent. */
  readonly patient: boolean;
  readonly onSettled: (index: number, fate: Fate) => void;
  /** For a pack of a replay job: tells when its requests are due. */
  readonly gate?: JobGate;
}
