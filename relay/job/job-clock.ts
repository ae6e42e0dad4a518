import type { Job, Pace } from "./job.ts";

/** The time of a job: it stands still while the job is paused, and passes `factor` times as fast as the world's. */
type TimedJob = Pick<Job, "pace" | "anchor" | "pausedAtMs">;

/**
 * When what stands at an offset in the time of the job is due; undefined where it has no due time: in a job that sends as
 * fast as it can, or has not begun. Counted from the one anchor, so that no error of a timer ever adds up.
 */
export function dueAtMs({ pace, anchor }: TimedJob, offsetMs: number): number | undefined {
  if (!anchor || pace.kind === "asap") return undefined;
  return anchor.atMs + (offsetMs - anchor.offsetMs) / factorOf(pace);
}

/** The offset that is due at a moment. */
export function offsetAt({ pace, anchor }: TimedJob, nowMs: number): number {
  return anchor ? anchor.offsetMs + (nowMs - anchor.atMs) * factorOf(pace) : 0;
}

/** How much faster the time of a job passes than the world's. */
export function factorOf(pace: Pace): number {
  return pace.kind === "speed" ? pace.factor : 1;
}

/** For so long the packs of a paused job wait with whoever sends them; then they go back into the queue. */
export const patientPauseMs = 15_000;

/** How long they stay there each time. */
export const pausedDelayMs = 10_000;

/**
 * The anchor of a job that goes on as if it had not been paused: nothing is made up for. After a long pause it does so when
 * the packs that went back are there again.
 */
export function resumedAnchor(job: TimedJob, nowMs: number): NonNullable<Job["anchor"]> {
  const { pausedAtMs = nowMs } = job;
  const atMs = nowMs - pausedAtMs > patientPauseMs ? nowMs + pausedDelayMs : nowMs;
  return { atMs, offsetMs: offsetAt(job, pausedAtMs) };
}
