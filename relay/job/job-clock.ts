import type { Job, Pace } from "./job.ts";

/** The time of a job: it stops while the job is paused, and passes `factor` times as fast as real time. */
type TimedJob = Pick<Job, "pace" | "anchor" | "pausedAtMs">;

/**
 * When a request at an offset in the time of the job is due, in ms since 1970. Undefined for a job that sends as fast
 * as possible or has not begun. Computed from a single anchor, so errors of timers do not add up.
 */
export function dueAtMs({ pace, anchor }: TimedJob, offsetMs: number): number | undefined {
  if (!anchor || pace.kind === "asap") return undefined;
  return anchor.atMs + (offsetMs - anchor.offsetMs) / factorOf(pace);
}

/** The offset that is due at a time. */
export function offsetAt({ pace, anchor }: TimedJob, nowMs: number): number {
  return anchor ? anchor.offsetMs + (nowMs - anchor.atMs) * factorOf(pace) : 0;
}

/** How many times faster than real time the time of a job passes. */
export function factorOf(pace: Pace): number {
  return pace.kind === "speed" ? pace.factor : 1;
}

/** How long a worker holds the packs of a paused job before it returns them to the queue. */
export const patientPauseMs = 15_000;

/** Delay of a paused job's packs in the queue, each time they return to it. */
export const pausedDelayMs = 10_000;

/**
 * The anchor of a resumed job: it continues at the offset where it was paused, and does not catch up. After a pause of
 * more than 15 s it continues 10 s later, when the packs that were returned to the queue are available again.
 */
export function resumedAnchor(job: TimedJob, nowMs: number): NonNullable<Job["anchor"]> {
  const { pausedAtMs = nowMs } = job;
  const atMs = nowMs - pausedAtMs > patientPauseMs ? nowMs + pausedDelayMs : nowMs;
  return { atMs, offsetMs: offsetAt(job, pausedAtMs) };
}
