import { setTimeout as sleep } from "node:timers/promises";
import type { TargetConfig } from "../config/config.ts";
import { printable } from "../control/shown-request.ts";
import { hasEnded, type Job } from "../job/job.ts";
import { type JobProgress, readProgress } from "../job/job-progress.ts";
import { type State, StateError } from "../state/port.ts";
import { readJobHold } from "./job-hold.ts";
import { formatBar, formatCount, formatDuration, formatFates, formatShare } from "./job-text.ts";
import { ProgressLine } from "./progress-line.ts";

export interface FollowOptions {
  readonly targets: readonly TargetConfig[];
  /** How long nobody may feed a job that is due before that is said. */
  readonly unfedMs: number;
}

/** The ports of the state that tell how far a job is, and why nothing of it is sent. */
type FollowedState = Pick<State, "jobs" | "ledger" | "controls">;

const readEveryMs = 1_000;
const lineEveryMs = 5_000;
const rateOverMs = 10_000;
// A throttled table answers again; one that is gone does not.
const patienceMs = 60_000;

/** Shows on standard error how far a job is: as a bar on a terminal, else as a line every few seconds. */
export class JobFollower {
  readonly #state: FollowedState;
  readonly #id: string;
  readonly #options: FollowOptions;
  readonly #line = new ProgressLine();
  readonly #samples: { readonly atMs: number; readonly settled: number }[] = [];
  #nextLineAtMs = 0;
  #reason: string | undefined;
  #unfedSinceMs: number | undefined;
  #warned = false;

  constructor(state: FollowedState, id: string, options: FollowOptions) {
    this.#state = state;
    this.#id = id;
    this.#options = options;
  }

  /** Resolves with the last progress when the job has ended or the signal is raised. Throws `JobError` and `StateError`. */
  async follow(signal: AbortSignal): Promise<JobProgress | undefined> {
    let progress: JobProgress | undefined;
    let readAtMs = Date.now();
    try {
      while (!signal.aborted) {
        try {
          progress = await readProgress(this.#state, this.#id);
          const hold = await readJobHold(this.#state.controls, this.#options.targets, progress.job);
          readAtMs = Date.now();
          this.#show(progress, hold);
          if (hasEnded(progress.job)) break;
        } catch (error) {
          if (!(error instanceof StateError) || Date.now() - readAtMs > patienceMs) throw error;
          this.#note(`${error.message}: it is asked again`);
        }
        // Ended early by the signal, which the loop looks at.
        await sleep(readEveryMs, undefined, { signal }).catch(() => {});
      }
      return progress;
    } finally {
      this.#line.clear();
    }
  }

  #show(progress: JobProgress, hold: string | undefined): void {
    const nowMs = Date.now();
    const { job, settled } = progress;
    this.#samples.push({ atMs: nowMs, settled });
    while (this.#samples.length > 2 && nowMs - this.#samples[0].atMs > rateOverMs) this.#samples.shift();
    this.#watchFeed(job, nowMs);
    if (job.reason !== this.#reason && job.reason !== undefined) this.#note(printable(job.reason));
    this.#reason = job.reason;
    const text = `${formatShare(progress)}  ${this.#describe(progress, hold, nowMs)}`;
    // A bar would leave a narrow terminal no room for the reason.
    const bar = hold === undefined ? `${formatBar(progress)} ` : "";
    if (process.stderr.isTTY) return this.#line.show(() => toOneLine(`${bar}${text}`));
    if (nowMs < this.#nextLineAtMs) return;
    this.#nextLineAtMs = nowMs + lineEveryMs;
    process.stderr.write(`${text}\n`);
  }

  #describe(progress: JobProgress, hold: string | undefined, nowMs: number): string {
    const { settled, total, fates } = progress;
    const answers = formatFates(fates);
    const parts = [
      `${formatCount(settled)} of ${formatCount(total)}`,
      ...(hold === undefined ? this.#describePace(progress, nowMs) : [hold]),
      ...(answers ? [answers] : []),
    ];
    return parts.join("  ");
  }

  #describePace(progress: JobProgress, nowMs: number): readonly string[] {
    const { status } = progress.job;
    const perSecond = this.#rate();
    const leftMs = this.#left(progress, perSecond, nowMs);
    return [
      status === "running" || status === "fed" ? `${formatCount(perSecond)}/s` : status,
      ...(leftMs === undefined ? [] : [`ETA ${formatDuration(leftMs)}`]),
    ];
  }

  /** Fates a second, lately. */
  #rate(): number {
    const [first, last] = [this.#samples[0], this.#samples[this.#samples.length - 1]];
    return last.atMs === first.atMs ? 0 : ((last.settled - first.settled) * 1_000) / (last.atMs - first.atMs);
  }

  /** By the time of the last request; where that has passed, or is not known, by what is done in a second. */
  #left({ job, endsAtMs = 0, total, settled }: JobProgress, perSecond: number, nowMs: number): number | undefined {
    if (job.status !== "running" && job.status !== "fed") return undefined;
    if (endsAtMs > nowMs) return endsAtMs - nowMs;
    return perSecond > 0 ? ((total - settled) * 1_000) / perSecond : undefined;
  }

  #watchFeed(job: Job, nowMs: number): void {
    if (!isUnfed(job, nowMs)) {
      this.#unfedSinceMs = undefined;
      this.#warned = false;
      return;
    }
    this.#unfedSinceMs ??= nowMs;
    if (this.#warned || nowMs - this.#unfedSinceMs < this.#options.unfedMs) return;
    this.#warned = true;
    this.#note(
      "warning: nothing feeds the job. It waits for `spoa-relay up`, `spoa-relay host` or the schedule function, with this configuration and its state",
    );
  }

  #note(text: string): void {
    this.#line.clear();
    process.stderr.write(`${text}\n`);
  }
}

/** Whether a job is due and nobody has it in hands. */
function isUnfed({ status, startAtMs = 0, lease }: Job, nowMs: number): boolean {
  if (status === "scheduled") return startAtMs <= nowMs;
  return status === "running" && (lease?.untilMs ?? 0) < nowMs;
}

/** A line that is longer than the terminal would not be written over. */
function toOneLine(text: string): string {
  return text.slice(0, Math.max(1, (process.stderr.columns || 80) - 1));
}
