import type { Semaphore } from "../concurrency/semaphore.ts";
import type { JobGate } from "../job/job-gate.ts";
import type { Pack, PackedRequest } from "../pack/pack.ts";
import type { Fate } from "../state/port.ts";
import type { Lane } from "./lane.ts";
import { PackReplay } from "./pack-replay.ts";

export interface ReplayOptions {
  /** Raised when nothing more may be sent; what is under way ends when the transport is closed. */
  readonly signal: AbortSignal;
  /** Whether to wait while the target is held (paused, outside its window, breaker open), or to leave the rest unsent. */
  readonly patient: boolean;
  readonly onSettled: (index: number, fate: Fate) => void;
  /** For a pack of a replay job: tells when its requests are due. */
  readonly gate?: JobGate;
}

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
  /** How long they had better wait where their time has not come. */
  readonly laterMs?: number;
  /** Why no slots could be leased. */
  readonly failure?: Error;
}

/** Sends the given requests of a pack to the lane's target, each at its slot, and waits until all have an outcome. */
export async function replayPack(
  lane: Lane,
  pack: Pack,
  requests: readonly PackedRequest[],
  options: ReplayOptions,
): Promise<ReplayResult> {
  const replay = new PackReplay(lane, pack, options);
  const { gate, signal } = options;
  const { orderBy } = lane.live.config;
  let begun = false;
  let underWay: Promise<void> | undefined;
  const send = async () => {
    begun = true;
    if (orderBy) underWay = replay.sendByKey(requests, orderBy);
    else await replay.sendInOrder(requests);
  };
  try {
    if (gate) {
      // So packs that wait at the same time have their turns in the order of their times.
      const wish = { place: pack.sequence, ready: replay.awaitFirst(requests[0]) };
      await lane.jobTurns.run(gate.id, wish, signal, send);
    } else {
      await takeTurn(lane.turn, signal, send);
    }
  } catch (error) {
    if (begun || !signal.aborted) throw error;
    return { ...replay.result(), unsent: requests };
  }
  await underWay;
  await replay.finished();
  return replay.result();
}

async function takeTurn(turn: Semaphore, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  await turn.acquire(signal);
  try {
    await work();
  } finally {
    turn.release();
  }
}
