import type { NotifyVisitor } from "../spop/notify-queue.ts";
import type { Crowd } from "./crowd.ts";
import type { HeldBytes } from "./held-bytes.ts";
import type { PeerLog } from "./peer-log.ts";
import type { Turns } from "./turns.ts";

export interface ConnectionOptions {
  readonly maxFrameBytes: number;
  /** HAProxy sends its HELLO at once; a peer that has sent none after this time is not HAProxy. */
  readonly helloDeadlineMs: number;
  /** A connection on which no message has arrived for this time is closed. */
  readonly idleMs: number;
  /** What all connections of the process hold. */
  readonly heldBytes: HeldBytes;
  readonly turns: Turns;
  readonly crowd: Crowd;
  /** Receives the payload of a NOTIFY that has been acknowledged. It may be called later than the ACK, and throw `DecodeError`. */
  readonly onNotify: NotifyVisitor;
  /** Receives the number of messages that were acknowledged and discarded because of their size. */
  readonly onOversize: (count: number) => void;
  /** Called for each answered chunk: the time from its arrival to the write, and the number of frames it completed. */
  readonly onAnswered?: (elapsedMs: number, frames: number) => void;
  /** False while health checks should fail. */
  readonly isHealthy: () => boolean;
  readonly log: PeerLog;
}
