import { setTimeout as sleep } from "node:timers/promises";
import type { TargetConfig } from "../config/config.ts";
import { hasEnded, type Job } from "../job/job.ts";
import { type JobProgress, readProgress } from "../job/job-progress.ts";
import { printable } from "../pack/request-text.ts";
import { LiveTarget } from "../replay/live-target.ts";
import { type State, StateError } from "../state/port.ts";
import { readJobHold } from "./job-hold.ts";
import {
  formatBar,
  formatCount,
  formatDuration,
  formatFates,
  formatSettled,
  formatShare,
  formatUnsent,
} from "./job-text.ts";
import { ProgressLine } from "./progress-line.ts";

export interface FollowOptions {
  readonly targets: readonly TargetConfig[];
  /** A warning is printed if a job that is due has had no feeder for this long. */
  readonly unfedMs: number;
}

/** The ports of the state that show the progress of a job, and why none of its requests are sent. */
type FollowedState = Pick<State, "jobs" | "ledger" | "controls">;

const readEveryMs = 1_000;
const lineEveryMs = 5_000;
const rateOverMs = 10_000;
// A throttled table answers again within this time; one that was deleted does not.
const patienceMs = 60_000;

/** Shows the progress of a job on standard error: as a bar on a terminal, else as a line every 5 s. */
export class JobFollower {
  readonly #state: FollowedState;
  readonly #id: string;
  readonly #options: FollowOptions;
  readonly #line = new ProgressLine();
  readonly #samples: { readonly atMs: number; readonly settled: number }[] = [];
  #live: LiveTarget | undefined;
  #nextLineAtMs = 0;
  #reason: string | undefined;
  #unfedSinceMs: number | undefined;
  #warned = false;

  constructor(state: FollowedState, id: string, options: FollowOptions) {
    this.#state = state;
    this.#id = id;
    this.#options = options;
  }

  /** Resolves with the last progress when the job ends or the signal is aborted. Throws `JobError` and `StateError`. */
  async follow(signal: AbortSignal): Promise<JobProgress | undefined> {
    let progress: JobProgress | undefined;
    let readAtMs = performance.now();
    try {
      while (!signal.aborted) {
        try {
          progress = await readProgress(this.#state, this.#id);
          const hold = await readJobHold(this.#state.controls, this.#options.targets, progress.job);
          await this.#readTarget(progress.job);
          readAtMs = performance.now();
          this.#show(progress, hold);
          if (hasEnded(progress.job)) break;
        } catch (error) {
          if (!(error instanceof StateError) || performance.now() - readAtMs > patienceMs) throw error;
          this.#note(`${error.message}; trying again`);
        }
        // The signal ends the sleep early, and then the loop.
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
    // The bar is left out, so that the reason fits on a narrow terminal.
    const bar = hold === undefined ? `${formatBar(progress)} ` : "";
    if (process.stderr.isTTY) return this.#line.show(() => toOneLine(`${bar}${text}`));
    if (nowMs < this.#nextLineAtMs) return;
    this.#nextLineAtMs = nowMs + lineEveryMs;
    process.stderr.write(`${text}\n`);
  }

  #describe(progress: JobProgress, hold: string | undefined, nowMs: number): string {
    const answers = formatFates(progress.fates);
    const parts = [
      formatSettled(progress),
      ...(hold === undefined ? this.#describePace(progress, nowMs) : [hold]),
      ...(answers ? [answers] : []),
      ...formatUnsent(progress),
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

  /** Requests that received a fate, per second, over the last 10 s. */
  #rate(): number {
    const [first, last] = [this.#samples[0], this.#samples[this.#samples.length - 1]];
    return last.atMs === first.atMs ? 0 : ((last.settled - first.settled) * 1_000) / (last.atMs - first.atMs);
  }

  async #readTarget({ target }: Job): Promise<void> {
    const config = this.#options.targets.find(({ name }) => name === target);
    if (!config) return;
    this.#live ??= new LiveTarget(config, this.#state.controls);
    await this.#live.refresh();
  }

  /**
   * Remaining time: until the last request is due, but no less than the target's rate allows. Without due times, and once they
   * have passed, by the rate of the last 10 s.
   */
  #left({ job, endsAtMs = 0, total, settled }: JobProgress, perSecond: number, nowMs: number): number | undefined {
    if (job.status !== "running" && job.status !== "fed") return undefined;
    const atTargetsRateMs = ((total - settled) * 1_000) / (this.#live?.ratePerSecond ?? Number.POSITIVE_INFINITY);
    if (endsAtMs > nowMs) return Math.max(endsAtMs - nowMs, atTargetsRateMs);
    if (perSecond > 0) return Math.max(((total - settled) * 1_000) / perSecond, atTargetsRateMs);
    return atTargetsRateMs > 0 ? atTargetsRateMs : undefined;
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
      "warning: nothing feeds the job. Start `spoa-relay up` or `spoa-relay host` with this configuration, or check the schedule function",
    );
  }

  #note(text: string): void {
    this.#line.clear();
    process.stderr.write(`${text}\n`);
  }
}

/** Whether a job is due but no process feeds it. */
function isUnfed({ status, startAtMs = 0, lease }: Job, nowMs: number): boolean {
  if (status === "scheduled") return startAtMs <= nowMs;
  return status === "running" && (lease?.untilMs ?? 0) < nowMs;
}

/** Cuts the text to the width of the terminal: the next text cannot overwrite a line that wraps. */
function toOneLine(text: string): string {
  return text.slice(0, Math.max(1, (process.stderr.columns || 80) - 1));
}
