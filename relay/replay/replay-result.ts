import type { JobGate } from "../job/job-gate.ts";
import type { PackedRequest } from "../pack/pack.ts";
import type { Fate } from "../state/port.ts";

/** The requests of a pack that were not reported to `onSettled`, by outcome. */
export interface ReplayResult {
  /** Not delivered: to be retried after `delayMs`. */
  readonly again: readonly PackedRequest[];
  readonly delayMs: number;
  /** Not sent, because an earlier request of their key is retried: they wait behind it, for `delayMs`. */
  readonly behind: readonly PackedRequest[];
  /** Why the first request of `again` was not delivered. */
  readonly reason?: string;
  /** For the dead-letter queue, by reason. */
  readonly dead: ReadonlyMap<string, readonly PackedRequest[]>;
  /**
   * Without an outcome: the signal was aborted, the transport was closed, the target is held, no slots could be had, or
   * the requests are not due yet.
   */
  readonly unsent: readonly PackedRequest[];
  /** How long the requests of `unsent` should wait if they are not due yet. */
  readonly laterMs?: number;
  /** How many requests have expired because they were overdue. They are settled. */
  readonly overdue: number;
  /** Why no slots could be had. */
  readonly failure?: Error;
  /** The first of the answers that were not HTTP. Its request is settled. */
  readonly malformed?: { readonly method: string; readonly path: string; readonly reason: string };
}

/** How to replay the requests of a pack. */
export interface ReplayOptions {
  /** Aborted when nothing more may be sent; requests in flight end when the transport is closed. */
  readonly signal: AbortSignal;
  /** True: wait while the target is held (paused, outside its window, breaker open). False: leave the rest unsent. */
  readonly patient: boolean;
  /** Whether the requests expire because they have waited for too long. By default they never do. */
  readonly isOverdue?: () => boolean;
  /** How old a request is; undefined if only the clocks of two machines tell it, which is also the default. */
  readonly ageMs?: (request: PackedRequest) => number | undefined;
  /** How old the requests are at least, whatever these clocks tell: for so long they have waited in the queue. By default 0. */
  readonly waitedMs?: () => number;
  readonly onSettled: (index: number, fate: Fate) => void;
  /** For a pack of a replay job: tells when its requests are due. */
  readonly gate?: JobGate;
}
