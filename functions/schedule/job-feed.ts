import type { Archive } from "../../relay/archive/port.ts";
import { orAborted } from "../../relay/concurrency/or-aborted.ts";
import { type Checkpoint, type Job, jobKey, toWhen } from "../../relay/job/job.ts";
import { dueAtMs } from "../../relay/job/job-clock.ts";
import { type JobStep, readJobPacks } from "../../relay/job/job-packs.ts";
import { leaveRoom } from "../../relay/queue/fitting.ts";
import { shareMessage } from "../../relay/queue/message.ts";
import { maxDelayMs, type QueueEntrance } from "../../relay/queue/port.ts";
import type { LiveTarget } from "../../relay/replay/live-target.ts";
import { matches } from "../../relay/rules/when.ts";
import type { Fate, VersionedJob } from "../../relay/state/port.ts";
import type { FeederOptions } from "./feeder-options.ts";

export interface JobFeedOptions
  extends Pick<
    FeederOptions,
    "jobs" | "ledger" | "lookAheadMs" | "leadMs" | "leaseMs" | "maxWaiting" | "metrics" | "log"
  > {
  readonly owner: string;
  readonly now: () => number;
  readonly live: LiveTarget;
  readonly archive: Archive;
  readonly queue: QueueEntrance;
}

type PackStep = Extract<JobStep, { kind: "pack" }>;

// Packs that are sent and recorded together, and held in memory.
const packsAtOnce = 8;
// A job may have as many requests waiting at a target as the target receives in this time. More would delay the packs of
// agents behind them.
const waitingSeconds = 10;
const leastWaiting = 300;
// A job that nobody fed for a while, and whose next pack is later than this, continues from now instead of catching up.
const lateMs = 1_000;
const writeAttempts = 10;
// The other half is for the requests of agents: if the queue is full, they are dropped.
const halfFull =
  "the target's queue has more than half of what it may have (queue.maxBytes): the job continues when requests or dead letters in it are done";
// Longer than any process takes a lease for. One that ends later was taken before the clock was set back.
// Processes whose clocks differ by more than the lifetime of a lease take it from each other.
const longestLeaseMs = 60_000;

/** Whether another process feeds the job now. */
export function isFedByOther({ lease }: Job, owner: string, nowMs: number): boolean {
  if (!lease || lease.owner === owner) return false;
  return lease.untilMs > nowMs && lease.untilMs <= nowMs + longestLeaseMs;
}

/** Feeds one job in one process. Keeps its place in the capture from round to round. */
export class JobFeed {
  readonly #options: JobFeedOptions;
  #job: Job | undefined;
  #version = 0;
  #steps: AsyncGenerator<JobStep> | undefined;
  #pending: JobStep | undefined;
  /** The checkpoint of `#steps`, without `#pending`. */
  #place: Checkpoint | undefined;
  /** Whether no process has fed the job for longer than the look-ahead. */
  #returned = false;

  constructor(options: JobFeedOptions) {
    this.#options = options;
  }

  /** True if another process feeds the job, or nothing is left to feed. */
  get closed(): boolean {
    return this.#steps === undefined;
  }

  /**
   * Feeds the packs that are due within the look-ahead, as far as there is room. Rejects with the errors of its stores; then
   * the feed is closed and the job's lease released.
   */
  async run(found: VersionedJob, waiting: number, signal: AbortSignal): Promise<void> {
    try {
      if (await this.#takeLease(found)) await this.#feed(waiting, signal);
      else this.close();
    } catch (error) {
      await this.release();
      if (!signal.aborted) throw error;
    }
  }

  /** Forgets the place in the capture; the next `run` finds it again from the job's checkpoint. */
  close(): void {
    this.#steps?.return(undefined).catch(() => {});
    this.#steps = undefined;
    this.#place = undefined;
    this.#pending = undefined;
  }

  /** Releases the lease, so that another process may continue the job at once. Never rejects. */
  async release(): Promise<void> {
    const job = this.#job;
    this.close();
    if (job?.lease?.owner !== this.#options.owner) return;
    const { lease: _, ...released } = job;
    await this.#options.jobs.write(released, this.#version).catch(() => {});
  }

  async #feed(waiting: number, signal: AbortSignal): Promise<void> {
    let left = (await this.#countRoom()) - waiting;
    let batch: PackStep[] = [];
    while (!signal.aborted && this.#isRunning()) {
      const step = await this.#peek(signal);
      if (!step || (step.kind === "pack" && !(await this.#isTime(step, waiting)))) break;
      if (step.kind === "pack") {
        if (batch.length === 0 && this.#options.queue.isHalfFull?.()) return this.#wait(halfFull);
        const { length } = step.pack.requests;
        // If nothing waits, one pack may be sent that is larger than all the room: otherwise it would wait forever.
        if (length > left && !(waiting === 0 && batch.length === 0 && left > 0)) break;
        left -= length;
        batch.push(step);
      }
      this.#pending = undefined;
      if (step.kind === "pack" && batch.length < packsAtOnce) continue;
      await this.#send(batch, step.after);
      batch = [];
    }
    const last = batch.at(-1);
    if (last && this.#job) await this.#send(batch, last.after);
    // The job can continue: without this write its old reason would remain until its next pack, which may be hours away.
    else if (this.#job?.reason !== undefined) await this.#write(({ reason: _, ...current }) => current);
  }

  /** Stores why the job cannot continue at this moment, for its readers. */
  async #wait(reason: string): Promise<void> {
    if (this.#job?.reason !== reason) await this.#write((current) => ({ ...current, reason }));
  }

  #isRunning(): boolean {
    return this.#job?.status === "running";
  }

  async #peek(signal: AbortSignal): Promise<JobStep | undefined> {
    const { archive, live, log } = this.#options;
    const job = this.#job as Job;
    if (!this.#steps) {
      const where = job.where && toWhen(job.where);
      const { when } = live.config;
      this.#place = job.checkpoint;
      this.#steps = readJobPacks(job, {
        archive,
        takes: (request) => (!where || matches(where, request)) && (!when || matches(when, request)),
        onSkip: ({ name, requests, reason }) =>
          log.warn(
            { event: "capture-broken", job: job.id, object: name, requests, reason },
            "a part of a capture cannot be read: the replay job skips its requests",
          ),
      });
    }
    // An archive may be slow, or never answer.
    this.#pending ??= (await orAborted(this.#steps.next(), signal)).value ?? undefined;
    return this.#pending;
  }

  /** Whether a pack is due within the look-ahead. */
  async #isTime({ offsetMs }: PackStep, waiting: number): Promise<boolean> {
    const { now, lookAheadMs } = this.#options;
    const job = this.#job as Job;
    const dueMs = dueAtMs(job, offsetMs);
    if (dueMs === undefined) return true;
    if (this.#returned && dueMs < now() - lateMs) {
      // Earlier packs that are still in the queue were due up to the look-ahead before this one: leave them that time.
      const atMs = this.#soonMs() + (waiting > 0 ? lookAheadMs : 0);
      await this.#write((current) => ({ ...current, anchor: { atMs, offsetMs } }));
    }
    this.#returned = false;
    return this.#job !== undefined && dueMs <= now() + lookAheadMs;
  }

  async #send(batch: readonly PackStep[], after: Checkpoint): Promise<void> {
    const { queue, ledger, metrics, log, now, leadMs } = this.#options;
    const job = this.#job as Job;
    if (batch.length > 0) {
      const messages = batch.map(({ pack, offsetMs }) => {
        const dueMs = dueAtMs(job, offsetMs);
        // A pack without a due time is held back only by the queue's delay, until the job begins.
        const delayMs =
          dueMs === undefined ? Math.ceil((job.anchor?.atMs ?? 0) - now()) : Math.floor(dueMs - now() - leadMs);
        const delay = delayMs > 0 && { delayMs: Math.min(delayMs, maxDelayMs) };
        return shareMessage(pack, pack.requests, { attempt: 0, ...delay });
      });
      const refusals = await leaveRoom(queue).send(messages);
      const refusal = refusals.find((error) => error && error.code !== "TOO_BIG");
      if (refusal) throw refusal;
      // Noted after sending: a pack that the ledger lists must not be missing in the queue.
      await Promise.all(
        batch.map(({ pack: { id, agent, sequence, requests } }, i) => {
          const refused = refusals[i];
          if (refused)
            log.error(
              { event: "too-big", job: job.id, reason: refused.message },
              "a request does not fit into a message of the target's queue: the replay job skips it",
            );
          const fates = new Map<number, Fate>(refused ? requests.map(({ index }) => [index, "skipped"]) : []);
          const targets = new Map([[jobKey(job.id), fates]]);
          if (!refused) metrics?.count("jobRequests", requests.length);
          return ledger.recordFanOut({ pack: id, agent, sequence, requests: requests.length, targets });
        }),
      );
    }
    await this.#write((current) => {
      const { lease: _lease, reason: _reason, ...rest } = current;
      if (!after.complete) return { ...rest, checkpoint: after, lease: this.#createLease() };
      return { ...rest, checkpoint: after, ...(current.status === "running" && { status: "fed" }) };
    });
    this.#place = after;
    if (after.complete || !this.#job) this.close();
  }

  /** False if another process has the lease. */
  async #takeLease({ job, version }: VersionedJob): Promise<boolean> {
    const { owner, now, leaseMs, lookAheadMs } = this.#options;
    const nowMs = now();
    const { lease } = job;
    if (isFedByOther(job, owner, nowMs)) return false;
    this.#job = job;
    this.#version = version;
    if (this.#place && !isSamePlace(job.checkpoint, this.#place)) this.close();
    const kept = lease?.owner === owner && lease.untilMs > nowMs;
    if (kept && job.anchor && job.status === "running" && lease.untilMs - nowMs > leaseMs / 2) return true;
    // No process has fed the job for longer than the look-ahead: the target's queue may have run empty.
    const away = !lease || nowMs - (lease.untilMs - leaseMs) > lookAheadMs;
    this.#returned ||= !kept && away;
    const anchor = job.anchor ?? { atMs: Math.max(job.startAtMs ?? 0, this.#soonMs()), offsetMs: 0 };
    const taken: Job = { ...job, status: "running", anchor, lease: this.#createLease() };
    if (!(await this.#options.jobs.write(taken, version))) return false;
    this.#job = taken;
    this.#version = version + 1;
    return true;
  }

  /** Writes a change on top of concurrent changes. Unsets `#job` if this feed no longer has the lease. */
  async #write(change: (job: Job) => Job): Promise<void> {
    const { jobs, owner } = this.#options;
    for (let attempt = 0; attempt < writeAttempts; attempt++) {
      const changed = change(this.#job as Job);
      if (await jobs.write(changed, this.#version)) {
        this.#job = changed;
        this.#version++;
        return;
      }
      const found = await jobs.read(changed.id);
      if (!found) throw new Error(`there is no job ${changed.id} any more`);
      this.#job = found.job;
      this.#version = found.version;
      // The job was cancelled, or another process has the lease.
      if (found.job.lease?.owner !== owner) {
        this.#job = undefined;
        return;
      }
    }
    throw new Error(`job ${this.#job?.id} cannot be written: it changed during each of ${writeAttempts} attempts`);
  }

  /** Requests of the job that may wait at the target. */
  async #countRoom(): Promise<number> {
    const { live, lookAheadMs, maxWaiting } = this.#options;
    await live.refresh();
    const seconds = Math.max(waitingSeconds, (2 * lookAheadMs) / 1_000);
    return Math.min(maxWaiting, Math.max(leastWaiting, live.ratePerSecond * seconds));
  }

  /** The earliest time that a pack sent now can be due. */
  #soonMs(): number {
    return this.#options.now() + 2 * this.#options.leadMs;
  }

  #createLease(): NonNullable<Job["lease"]> {
    return { owner: this.#options.owner, untilMs: this.#options.now() + this.#options.leaseMs };
  }
}

/** The packs of a job are always the same, so that counts identify a place. */
function isSamePlace(a: Checkpoint, b: Checkpoint): boolean {
  return a.loop === b.loop && a.packs === b.packs && a.filtered === b.filtered && a.complete === b.complete;
}
