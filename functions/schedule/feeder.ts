import { randomUUID } from "node:crypto";
import { hasEnded, type Job, jobKey } from "../../relay/job/job.ts";
import { changeJob, toEnded } from "../../relay/job/job-control.ts";
import { Outage } from "../../relay/log/outage.ts";
import type { LiveTarget } from "../../relay/replay/live-target.ts";
import { PatternError } from "../../relay/rules/pattern-error.ts";
import type { LedgerTotals, VersionedJob } from "../../relay/state/port.ts";
import type { FeederOptions } from "./feeder-options.ts";
import { isFedByOther, JobFeed } from "./job-feed.ts";

const roundMs = 1_000;

/**
 * Puts the packs of replay jobs into their targets' queues, `lookAheadMs` before they are due. Any number of processes may
 * run a feeder: leases give each job to one of them.
 */
export class Feeder {
  readonly #options: FeederOptions;
  readonly #owner = randomUUID();
  readonly #now: () => number;
  readonly #feeds = new Map<string, JobFeed>();
  /** The work in progress, by job id. */
  readonly #busy = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  /** By job; the empty name is for the list of jobs. */
  readonly #outages = new Map<string, Outage>();
  /** The jobs whose repairs were logged. */
  readonly #repaired = new Set<string>();
  #idleUntilMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(options: FeederOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Feeds now and each second, until it is stopped. Failures are logged and retried. Resolves when every job has had its first
   * turn; never rejects.
   */
  async start(): Promise<void> {
    const turn = () => {
      const idleMs = this.#idleUntilMs - this.#now();
      // `idleMs` is larger than the interval only after the clock was set back.
      if (idleMs > 0 && idleMs <= (this.#options.idleMs ?? 0)) return;
      this.#looking ??= this.#look(this.#stopping.signal)
        .catch((error: Error) => this.#report(error))
        .finally(() => {
          this.#looking = undefined;
        });
    };
    turn();
    this.#timer = setInterval(turn, roundMs);
    await this.#looking;
    await Promise.all(this.#busy.values());
  }

  /** Resolves when this feeder sends nothing more and has released its jobs: another process may continue them at once. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#looking;
    await Promise.all(this.#busy.values());
    await Promise.all(Array.from(this.#feeds.values(), (feed) => feed.release()));
    this.#feeds.clear();
  }

  /**
   * Feeds the packs that are due within the look-ahead, until that is done or the signal is aborted. If a job cannot continue,
   * the reason is stored in the job, and the others are still fed. Rejects with `StateError` if the jobs cannot be read.
   */
  async run(signal: AbortSignal): Promise<void> {
    await this.#look(signal);
    await Promise.all(this.#busy.values());
  }

  /** Starts the work for each job, without waiting for it: a job with a slow archive must not delay the others. */
  async #look(signal: AbortSignal): Promise<void> {
    // Jobs in progress are skipped below: what the list says about them is outdated when their work ends.
    const busy = new Set(this.#busy.keys());
    const living = (await this.#options.jobs.list()).filter(({ job }) => !hasEnded(job));
    const ids = new Set([...busy, ...living.map(({ job }) => job.id)]);
    this.#outages.get("")?.recover({ nowMs: this.#now() });
    for (const [id, feed] of this.#feeds) if (!ids.has(id)) this.#drop(id, feed);
    for (const id of this.#outages.keys()) if (id !== "" && !ids.has(id)) this.#outages.delete(id);
    if (living.length === 0) {
      this.#idleUntilMs = this.#now() + (this.#options.idleMs ?? 0);
      return;
    }
    let totals: Promise<LedgerTotals> | undefined;
    const waitingOf = async (job: Job) => {
      totals ??= this.#options.ledger.totals();
      return countWaiting(await totals, job);
    };
    for (const id of this.#repaired) if (!ids.has(id)) this.#repaired.delete(id);
    for (const found of living) {
      const { id } = found.job;
      this.#tellRepairs(found);
      if (busy.has(id)) continue;
      const done = this.#advance(found, waitingOf, signal).finally(() => this.#busy.delete(id));
      this.#busy.set(id, done);
    }
  }

  async #advance(found: VersionedJob, waitingOf: (job: Job) => Promise<number>, signal: AbortSignal): Promise<void> {
    const { job } = found;
    try {
      if (job.status === "fed") {
        if ((await waitingOf(job)) === 0) await this.#end(job);
        else if (!this.#findTarget(job)) await this.#fail(job, withoutConfig(`target ${job.target}`));
      } else if (job.status === "running" || isTime(job, this.#now() + this.#options.lookAheadMs)) {
        await this.#feed(found, await waitingOf(job), signal);
      }
      this.#outages.get(job.id)?.recover({ nowMs: this.#now() });
    } catch (error) {
      await this.#noteFailure(job, error as Error);
    }
    const feed = this.#feeds.get(job.id);
    if (feed?.closed) this.#feeds.delete(job.id);
    else if (feed && job.status === "paused") this.#drop(job.id, feed);
  }

  async #feed(found: VersionedJob, waiting: number, signal: AbortSignal): Promise<void> {
    const { job } = found;
    const { archives, queueOf, ...options } = this.#options;
    const live = this.#findTarget(job);
    const archive = archives.get(job.capture);
    if (!live || !archive)
      return this.#fail(job, withoutConfig(live ? `capture ${job.capture}` : `target ${job.target}`));
    let feed = this.#feeds.get(job.id);
    if (!feed) {
      feed = new JobFeed({ ...options, owner: this.#owner, now: this.#now, live, archive, queue: queueOf(job.target) });
      this.#feeds.set(job.id, feed);
    }
    await feed.run(found, waiting, signal);
  }

  async #end(job: Job): Promise<void> {
    const ended = await changeJob(this.#options.jobs, job.id, (now) =>
      now.status === "fed" ? toEnded(now, "done", this.#now()) : now,
    );
    if (ended.status === "done") this.#options.log.info({ event: "job-done", job: job.id }, "a replay job is done");
  }

  #findTarget({ target }: Job): LiveTarget | undefined {
    return this.#options.targets.find(({ config }) => config.name === target);
  }

  async #fail(job: Job, reason: string): Promise<void> {
    // Another process, whose configuration may have the target and the capture, feeds the job.
    if (isFedByOther(job, this.#owner, this.#now())) return;
    await changeJob(this.#options.jobs, job.id, (now) =>
      hasEnded(now) ? now : { ...toEnded(now, "failed", this.#now()), reason },
    );
    this.#options.log.error({ event: "job-failed", job: job.id, reason }, "a replay job has failed");
  }

  /** Never rejects. */
  async #noteFailure(job: Job, error: Error): Promise<void> {
    // A version that allowed more expressions wrote the job.
    if (error instanceof PatternError)
      return this.#fail(job, error.message).catch((failed: Error) => this.#report(failed, job.id));
    this.#report(error, job.id);
    await this.#note(job.id, error.message);
  }

  /** Stores in the job why it cannot continue, for its readers. The reason is removed when the job continues. */
  async #note(id: string, reason: string): Promise<void> {
    try {
      await changeJob(this.#options.jobs, id, (job) =>
        hasEnded(job) || job.reason === reason ? job : { ...job, reason },
      );
    } catch {
      // The state store may be the part that fails.
    }
  }

  #tellRepairs({ job, repairs = [] }: VersionedJob): void {
    if (repairs.length === 0 || this.#repaired.has(job.id)) return;
    this.#repaired.add(job.id);
    this.#options.log.warn(
      { event: "job-repaired", job: job.id, target: job.target, reason: repairs.join("; ") },
      "the state holds numbers of a replay job that are not allowed",
    );
  }

  /** @param job empty if the list of jobs could not be read */
  #report(error: Error, job = ""): void {
    const what = job === "" ? "the list of replay jobs cannot be read" : "a replay job cannot continue";
    const outage =
      this.#outages.get(job) ??
      new Outage(this.#options.log, {
        down: ["feed-failed", `${what}: retrying`],
        up: ["feed-resumed", job === "" ? "the list of replay jobs can be read again" : "a replay job continues"],
        ...(job !== "" && { about: { job } }),
      });
    this.#outages.set(job, outage);
    outage.fail(error.message, { nowMs: this.#now() });
  }

  #drop(id: string, feed: JobFeed): void {
    feed.close();
    this.#feeds.delete(id);
  }
}

function withoutConfig(missing: string): string {
  return `there is no ${missing} in the configuration any more`;
}

/** Whether a scheduled job starts by `untilMs`. */
function isTime({ status, startAtMs = 0 }: Job, untilMs: number): boolean {
  return status === "scheduled" && startAtMs <= untilMs;
}

/** Requests of a job that have no fate yet: they are in the target's queue or in flight. */
function countWaiting({ targets }: LedgerTotals, { id }: Job): number {
  const totals = targets.get(jobKey(id));
  return totals ? totals.enqueued - Object.values(totals.fates).reduce((sum, count) => sum + count, 0) : 0;
}
