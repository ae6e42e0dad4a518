import { KeyTurns } from "../concurrency/key-turns.ts";
import { NamedTurns } from "../concurrency/ordered-turns.ts";
import { Semaphore } from "../concurrency/semaphore.ts";
import { TargetCredentials } from "../credentials/target-credentials.ts";
import type { FigureBook } from "./figure-book.ts";
import type { LiveTarget } from "./live-target.ts";
import type { Pacer } from "./pacer.ts";
import type { Transport } from "./transport.ts";

/** What a process keeps for one target, whatever number of packs it works on. */
export interface Lane {
  readonly live: LiveTarget;
  readonly transport: Transport;
  readonly pacer: Pacer;
  readonly figures: FigureBook;
  /** What the target's requests are sent with, where that is not what they were captured with. */
  readonly credentials: TargetCredentials | undefined;
  /** Requests under way. */
  readonly permits: Semaphore;
  /** One pack after the other gives out its requests, so that they leave in the order of their capture. */
  readonly turn: Semaphore;
  /** The same for the packs of each replay job, which so wait for their times beside all others. */
  readonly jobTurns: NamedTurns;
  /** Where the requests of one key are sent one after the other. */
  readonly keys: KeyTurns;
}

/** Credentials that are not passed are the lane's own, of which no log tells anything. */
export function createLane(
  parts: Pick<Lane, "live" | "transport" | "pacer" | "figures"> & Partial<Pick<Lane, "credentials">>,
): Lane {
  return {
    ...parts,
    credentials: parts.credentials ?? TargetCredentials.of(parts.live.config),
    permits: new Semaphore(parts.live.concurrency),
    turn: new Semaphore(1),
    jobTurns: new NamedTurns(),
    keys: new KeyTurns(),
  };
}

/** Takes up how many requests the target may get at once now. */
export function resizeLane({ live, permits, transport }: Lane): void {
  permits.resize(live.concurrency);
  transport.resize(live.connections);
}
