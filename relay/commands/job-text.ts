import type { Job, Pace } from "../job/job.ts";
import type { JobProgress } from "../job/job-progress.ts";
import { type Fate, fates } from "../state/port.ts";
import { plural } from "./command-line.ts";

const barColumns = 24;

/** The pace of a job, in the form of the flags: `2x`, `100/s`, `asap`. */
export function formatPace(pace: Pace): string {
  if (pace.kind === "speed") return `${pace.factor}x`;
  return pace.kind === "rate" ? `${Number(pace.perSecond.toPrecision(4))}/s` : "asap";
}

/** What a job does, in one line, without its id. */
export function describeJob({ capture, target, pace, loops, startAtMs }: Job): string {
  const often = loops > 1 ? `, ${loops} times` : "";
  const start = startAtMs === undefined ? "" : `, starting at ${new Date(startAtMs).toISOString()}`;
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

/** The number of requests with each fate, without the zeros: `2xx 1,200, 5xx 3, dead-lettered 1`. */
export function formatFates(counts: Readonly<Record<Fate, number>>): string {
  return fates
    .filter((fate) => counts[fate] > 0)
    .map((fate) => `${fateNames[fate] ?? fate.replace("answered.", "")} ${formatCount(counts[fate])}`)
    .join(", ");
}

const fateNames: Readonly<Partial<Record<Fate, string>>> = { sampledOut: "sampled out", deadLettered: "dead-lettered" };

/** Whole percent, rounded down, so that 100% means done. */
export function formatShare({ share }: JobProgress): string {
  return `${Math.floor(Math.min(1, share) * 100)}%`;
}

/** `1,200 of 3,000`, or `1,200 of about 3,000` while the number of requests is an estimate. */
export function formatSettled({ settled, total, estimated }: JobProgress): string {
  return `${formatCount(settled)} of ${estimated ? "about " : ""}${formatCount(total)}`;
}

/** What a job has not sent and why, in the form `2,250 left out`; empty if it sent everything. */
export function formatUnsent({ leftOut, unreadable }: JobProgress): readonly string[] {
  return [
    ...(leftOut > 0 ? [`${formatCount(leftOut)} left out`] : []),
    ...(unreadable > 0 ? [`${formatCount(unreadable)} not readable`] : []),
  ];
}

/** What a job could not deliver, and where to look; undefined if nothing failed. */
export function explainUndelivered({ job, fates: counts, unreadable }: JobProgress): string | undefined {
  const { target } = job;
  const parts = [
    [counts.deadLettered, `dead letter${counts.deadLettered === 1 ? "" : "s"} (spoa-relay dlq list ${target})`],
    [counts.expired, `expired (maxAge of ${target}, or too long in its queue)`],
    [unreadable, `in parts of the capture that cannot be read (spoa-relay jobs show ${job.id}, and the host's log)`],
  ] as const;
  const failed = parts.filter(([count]) => count > 0);
  if (failed.length === 0) return undefined;
  const sum = failed.reduce((all, [count]) => all + count, 0);
  const list = failed.map(([count, text]) => `${formatCount(count)} ${text}`).join(", ");
  return `${plural(sum, "request")} ${sum === 1 ? "was" : "were"} not delivered: ${list}`;
}

/** Says why requests were skipped; undefined if none were. */
export function explainSkipped({ job: { target }, fates: { skipped } }: JobProgress): string | undefined {
  if (skipped === 0) return undefined;
  return `${plural(skipped, "request")} skipped: incomplete bodies (targets.${target}.truncated), or too big for the target's queue`;
}

/** A warning if a job found far fewer requests than the capture had at the start of the job; else undefined. */
export function explainShortfall({ job, missing }: JobProgress): string | undefined {
  const expected = job.total.requests * job.loops;
  // The names of objects give an estimate only: a difference of some seconds of traffic is normal.
  if (missing <= Math.max(1_000, expected / 10)) return undefined;
  return `the capture had about ${plural(expected, "request")} when the job was started; the rest may have expired since`;
}

/** A progress bar. */
export function formatBar({ share }: JobProgress): string {
  const filled = Math.floor(Math.min(1, share) * barColumns);
  return `${"█".repeat(filled)}${"░".repeat(barColumns - filled)}`;
}
