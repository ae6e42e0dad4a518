import { randomUUID } from "node:crypto";
import type { Archive } from "../relay/archive/port.ts";
import { hasEnded, type Job, jobKey } from "../relay/job/job.ts";
import { changeJob, toEnded } from "../relay/job/job-control.ts";
import type { LiveTarget } from "../relay/live-target.ts";
import { type Logger, Throttle } from "../relay/log.ts";
import type { QueueSender } from "../relay/queue/port.ts";
import type { Jobs, Ledger, LedgerFigures, VersionedJob } from "../relay/state/port.ts";
import { JobFeed } from "./job-feed.ts";
import type { MetricLine } from "./metric-line.ts";

export interface FeederOptions {
  readonly jobs: Jobs;
  readonly ledger: Pick<Ledger, "recordFanOut" | "figures">;
  readonly targets: readonly LiveTarget[];
  readonly queueOf: (target: string) => QueueSender;
  /** By the name of the capture. */
  readonly archives: ReadonlyMap<string, Archive>;
  /** How far ahead of its time a pack is put into the queue. */
  readonly lookAheadMs: number;
  /** How long before its time a pack comes out of the queue. */
  readonly leadMs: number;
  /** How long after its death another process goes on with what this one feeds. */
  readonly leaseMs: number;
  /** Most requests of a job that wait at a target without a limit. */
  readonly maxWaiting: number;
  /** How often it is looked for jobs while there are none; each second where nothing is said. */
  readonly idleMs?: number;
  readonly metrics?: Pick<MetricLine, "count">;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const roundMs = 1_000;

/**
 * Puts the packs of replay jobs into the queues of their targets, a while before they are due. Any number of processes may
 * do so: each job is fed by one of them.
 */
export class Feeder {
  readonly #options: FeederOptions;
  readonly #owner = randomUUID();
  readonly #now: () => number;
  readonly #feeds = new Map<string, JobFeed>();
  readonly #stopping = new AbortController();
  readonly #problems = new Throttle();
  #idleUntilMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(options: FeederOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Feeds now and each second, until it is stopped. What fails is logged and tried again. */
  start(): void {
    const turn = () => {
      if (this.#now() < this.#idleUntilMs) return;
      this.#running ??= this.run(this.#stopping.signal)
        .catch((error: Error) => this.#complain(error))
        .finally(() => {
          this.#running = undefined;
        });
    };
    turn();
    this.#timer = setInterval(turn, roundMs);
  }

  /** Resolves when nothing more is put into a queue. Another process may go on at once. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#running;
    await Promise.all(Array.from(this.#feeds.values(), (feed) => feed.release()));
    this.#feeds.clear();
  }

  /**
   * Feeds what is due within the look-ahead, and ends when that is done, or soon after the signal was raised. What keeps one
   * job from going on is noted in it, and the others are fed all the same. Throws `StateError` where the jobs cannot be read.
   */
  async run(signal: AbortSignal): Promise<void> {
    const living = (await this.#options.jobs.listJobs()).filter(({ job }) => !hasEnded(job));
    const ids = new Set(living.map(({ job }) => job.id));
    for (const [id, feed] of this.#feeds) if (!ids.has(id)) this.#drop(id, feed);
    if (living.length === 0) {
      this.#idleUntilMs = this.#now() + (this.#options.idleMs ?? 0);
      return;
    }
    let figures: Promise<LedgerFigures> | undefined;
    const waitingOf = async (job: Job) => {
      figures ??= this.#options.ledger.figures();
      return countWaiting(await figures, job);
    };
    await Promise.all(living.map((found) => this.#care(found, waitingOf, signal)));
  }

  async #care(found: VersionedJob, waitingOf: (job: Job) => Promise<number>, signal: AbortSignal): Promise<void> {
    const { job } = found;
    try {
      if (job.status === "fed") {
        if ((await waitingOf(job)) === 0) await this.#end(job);
      } else if (job.status === "running" || isTime(job, this.#now() + this.#options.lookAheadMs)) {
        await this.#feed(found, await waitingOf(job), signal);
      }
    } catch (error) {
      this.#complain(error as Error, job.id);
      await this.#note(job.id, (error as Error).message);
    }
    const feed = this.#feeds.get(job.id);
    if (feed?.closed) this.#feeds.delete(job.id);
    else if (feed && job.status === "paused") this.#drop(job.id, feed);
  }

  async #feed(found: VersionedJob, waiting: number, signal: AbortSignal): Promise<void> {
    const { job } = found;
    const { targets, archives, queueOf, ...options } = this.#options;
    const live = targets.find(({ config }) => config.name === job.target);
    const archive = archives.get(job.capture);
    if (!live || !archive) {
      const missing = live ? `capture ${job.capture}` : `target ${job.target}`;
      return this.#fail(job, `there is no ${missing} in the configuration any more`);
    }
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

  async #fail(job: Job, reason: string): Promise<void> {
    await changeJob(this.#options.jobs, job.id, (now) =>
      hasEnded(now) ? now : { ...toEnded(now, "failed", this.#now()), reason },
    );
    this.#options.log.error({ event: "job-failed", job: job.id, reason }, "a replay job has failed");
  }

  /** For who looks at the job. Taken back with its next pack. */
  async #note(id: string, reason: string): Promise<void> {
    try {
      await changeJob(this.#options.jobs, id, (job) =>
        hasEnded(job) || job.reason === reason ? job : { ...job, reason },
      );
    } catch {
      // It may be the state that is away.
    }
  }

  #complain(error: Error, job?: string): void {
    this.#problems.run(this.#now(), (heldBack) =>
      this.#options.log.error(
        { event: "feed-failed", job, reason: error.message, heldBack },
        "a replay job cannot go on: it is tried again",
      ),
    );
  }

  #drop(id: string, feed: JobFeed): void {
    feed.close();
    this.#feeds.delete(id);
  }
}

/** Whether a job that has not begun may do so. */
function isTime({ status, startAtMs = 0 }: Job, untilMs: number): boolean {
  return status === "scheduled" && startAtMs <= untilMs;
}

/** Requests of a job that are in the target's queue, or under way: without a fate. */
function countWaiting({ targets }: LedgerFigures, { id }: Job): number {
  const figures = targets.get(jobKey(id));
  return figures ? figures.enqueued - Object.values(figures.fates).reduce((sum, count) => sum + count, 0) : 0;
}
