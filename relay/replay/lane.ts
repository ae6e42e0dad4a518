import { KeyTurns } from "../concurrency/key-turns.ts";
import { OrderedTurns } from "../concurrency/ordered-turns.ts";
import { Semaphore } from "../concurrency/semaphore.ts";
import { TargetCredentials } from "../credentials/target-credentials.ts";
import type { FigureBook } from "./figure-book.ts";
import type { LiveTarget } from "./live-target.ts";
import type { Pacer } from "./pacer.ts";
import type { Transport } from "./transport.ts";

/** The state that a process keeps for one target; all packs of the target share it. */
export interface Lane {
  readonly live: LiveTarget;
  readonly transport: Transport;
  readonly pacer: Pacer;
  readonly figures: FigureBook;
  /** Credentials that replace the captured ones; undefined if requests are sent with the captured ones. */
  readonly credentials: TargetCredentials | undefined;
  /** One permit for each request in flight. */
  readonly permits: Semaphore;
  /** Packs send their requests one pack after the other, so that requests leave in the order of their capture. */
  readonly turn: Semaphore;
  /** The same, for each replay job: the packs of a job wait for their due times without blocking other packs. */
  readonly jobTurns: OrderedTurns;
  /** Sends the requests of one key one after the other. */
  readonly keys: KeyTurns;
}

/** Without `credentials`, the lane creates its own from the target's configuration; those log nothing. */
export function createLane(
  parts: Pick<Lane, "live" | "transport" | "pacer" | "figures"> & Partial<Pick<Lane, "credentials">>,
): Lane {
  return {
    ...parts,
    credentials: parts.credentials ?? TargetCredentials.of(parts.live.config),
    permits: new Semaphore(parts.live.concurrency),
    turn: new Semaphore(1),
    jobTurns: new OrderedTurns(),
    keys: new KeyTurns(),
  };
}

/** Applies the current concurrency and number of connections of the target. */
export function resizeLane({ live, permits, transport }: Lane): void {
  permits.resize(live.concurrency);
  transport.resize(live.connections);
}
