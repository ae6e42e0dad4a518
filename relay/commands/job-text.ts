import type { Job, Pace } from "../job/job.ts";
import type { JobProgress } from "../job/job-progress.ts";
import { type Fate, fates } from "../state/port.ts";

const barColumns = 24;

/** How fast a job goes, in the words of the command line. */
export function formatPace(pace: Pace): string {
  if (pace.kind === "speed") return `${pace.factor}x`;
  return pace.kind === "rate" ? `${Number(pace.perSecond.toPrecision(4))}/s` : "asap";
}

/** What a job does, in one line without its id. */
export function describeJob({ capture, target, pace, loops, startAtMs }: Job): string {
  const often = loops > 1 ? `, ${loops} times` : "";
  const start = startAtMs === undefined ? "" : `, from ${new Date(startAtMs).toISOString()} on`;
  return `${capture} to ${target} at ${formatPace(pace)}${often}${start}`;
}

/** `0:42`, `12:05`, `3:00:00` or `2d 3:00:00`. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3_600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  const tail = `${seconds % 60}`.padStart(2, "0");
  if (days === 0 && hours === 0) return `${minutes}:${tail}`;
  return `${days > 0 ? `${days}d ` : ""}${hours}:${`${minutes}`.padStart(2, "0")}:${tail}`;
}

/** `12.3 MB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${power === 0 ? Math.round(bytes) : (bytes / 1_000 ** power).toFixed(1)} ${units[power]}`;
}

export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** Classes of answers and other fates that any request has: `2xx 1,200, 5xx 3, expired 1`. */
export function formatFates(counts: Readonly<Record<Fate, number>>): string {
  return fates
    .filter((fate) => counts[fate] > 0)
    .map((fate) => `${fate.replace("answered.", "")} ${formatCount(counts[fate])}`)
    .join(", ");
}

/** Whole per cents, rounded down: all of it is not before the end. */
export function formatShare({ share }: JobProgress): string {
  return `${Math.floor(Math.min(1, share) * 100)}%`;
}

/** That a job has found far fewer requests than it was started for; undefined where it has not. */
export function explainShortfall({ job, total, expected }: JobProgress): string | undefined {
  // Names of objects do not tell all: some of a minute more or less is nothing.
  if (!job.checkpoint.complete || expected - total <= Math.max(1_000, expected / 10)) return undefined;
  return `about ${formatCount(expected)} requests were there when it was started: the capture may have expired meanwhile`;
}

/** A bar that is filled so far as the job is. */
export function formatBar({ share }: JobProgress): string {
  const filled = Math.floor(Math.min(1, share) * barColumns);
  return `${"█".repeat(filled)}${"░".repeat(barColumns - filled)}`;
}
