import type { Pace } from "../job/job.ts";
import type { PackedRequest } from "../pack/pack.ts";

/** Marks a message of a replay job, so that the worker that sends its requests knows when they are due. */
export interface JobMark {
  readonly id: string;
  /**
   * Added to the captured time of a request (in a job with a rate: to the time of its index), it gives the request's offset in
   * the time of the job. Undefined if a dead letter is sent again: it no longer has a due time, and pausing or cancelling the
   * job no longer affects it.
   */
  readonly baseMs?: number;
}

/** The mark of a pack whose first request (index 0) is due at `offsetMs` in the time of the job. */
export function createMark(id: string, pace: Pace, firstCapturedAtMs: number, offsetMs: number): JobMark {
  return { id, baseMs: pace.kind === "speed" ? offsetMs - firstCapturedAtMs : offsetMs };
}

/** The offset of a request in the time of its job; undefined if the request has no due time. */
export function offsetOf(
  pace: Pace,
  { baseMs }: JobMark,
  { capturedAtMs, index }: Pick<PackedRequest, "capturedAtMs" | "index">,
): number | undefined {
  if (baseMs === undefined || pace.kind === "asap") return undefined;
  return baseMs + (pace.kind === "speed" ? capturedAtMs : (index * 1_000) / pace.perSecond);
}
