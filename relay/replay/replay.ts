import type { Semaphore } from "../concurrency/semaphore.ts";
import type { Pack, PackedRequest } from "../pack/pack.ts";
import type { Lane } from "./lane.ts";
import { PackReplay } from "./pack-replay.ts";
import type { ReplayOptions, ReplayResult } from "./replay-result.ts";

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
  let sending: Promise<void> | undefined;
  const send = async () => {
    begun = true;
    if (orderBy) sending = replay.sendByKey(requests, orderBy);
    else await replay.sendInOrder(requests);
  };
  try {
    if (gate) {
      // This gives packs that wait at the same time their turns in the order of their due times.
      const turn = { place: pack.sequence, ready: replay.awaitFirst(requests[0]) };
      await lane.jobTurns.run(gate.id, turn, signal, send);
    } else {
      await takeTurn(lane.turn, signal, send);
    }
  } catch (error) {
    if (begun || !signal.aborted) throw error;
    return { ...replay.result(), unsent: requests };
  }
  await sending;
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
