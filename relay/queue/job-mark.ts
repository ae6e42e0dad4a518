import type { Pace } from "../job/job.ts";
import type { PackedRequest } from "../pack/pack.ts";

/** What a message of a job carries, so that whoever sends its requests can tell when they are due. */
export interface JobMark {
  readonly id: string;
  /**
   * Added to a request's captured time, or in a job with a rate to the time of its index, it gives its offset in the time of
   * the job. Undefined where a dead letter is sent again: it has no due time any more, and what becomes of the job is nothing
   * to it.
   */
  readonly baseMs?: number;
}

/** The mark of a pack whose first request, index 0, stands at this offset. */
export function createMark(id: string, pace: Pace, firstCapturedAtMs: number, offsetMs: number): JobMark {
  return { id, baseMs: pace.kind === "speed" ? offsetMs - firstCapturedAtMs : offsetMs };
}

/** Where a request stands in the time of its job; undefined where it is to be sent without a time. */
export function offsetOf(
  pace: Pace,
  { baseMs }: JobMark,
  { capturedAtMs, index }: Pick<PackedRequest, "capturedAtMs" | "index">,
): number | undefined {
  if (baseMs === undefined || pace.kind === "asap") return undefined;
  return baseMs + (pace.kind === "speed" ? capturedAtMs : (index * 1_000) / pace.perSecond);
}
