import type { SQLOutputValue } from "node:sqlite";
import {
  endedKeptMs,
  explainForeign,
  type ForeignJob,
  forgottenJobsKey,
  type Job,
  jobKey,
  parseJob,
  toRecord,
} from "../../job/job.ts";
import { JobError } from "../../job/job-error.ts";
import { shiftJob } from "../../job/shifted-job.ts";
import type { MachineClock } from "../../process/machine-clock.ts";
import type { Jobs, VersionedJob } from "../port.ts";
import type { StateFile } from "./sql.ts";

// A time service sets a clock that is off by more, and slows or speeds up the others.
const leastJumpMs = 1_000;

/**
 * Stores each job in one row with a version. If the wall clock is set, a job that is read later continues where it was: its times
 * are moved with the clock, and moved back when it is written. So any number of processes agree.
 */
export class EmbeddedJobs implements Jobs {
  readonly #file: StateFile;

  readonly #machine: Pick<MachineClock, "wallMs">;

  constructor(file: StateFile, machine: Pick<MachineClock, "wallMs">) {
    this.#file = file;
    this.#machine = machine;
  }

  async list(): Promise<readonly VersionedJob[]> {
    return this.#rows().flatMap((found) => ("foreign" in found ? [] : [found]));
  }

  async foreign(): Promise<readonly ForeignJob[]> {
    return this.#rows().flatMap((found) => ("foreign" in found ? [found.foreign] : []));
  }

  async read(id: string): Promise<VersionedJob | undefined> {
    const row = this.#file.guard(() => this.#file.statements.job.get(id, this.#file.nowMs()));
    if (!row) return undefined;
    const found = this.#toStoredJob(row);
    if ("foreign" in found) throw new JobError("FOREIGN_JOB", explainForeign(found.foreign));
    return found;
  }

  async write(job: Job, version: number): Promise<boolean> {
    const { statements } = this.#file;
    const written = this.#file.transaction(() => {
      this.#prune();
      const seen = Number(statements.job.get(job.id, this.#file.nowMs())?.version ?? 0);
      if (seen !== version) return false;
      // Not from `endedAtMs` on, which is by a wall clock.
      const pruneAtMs = job.endedAtMs === undefined ? null : this.#file.nowMs() + endedKeptMs;
      const { shiftMs = 0 } = job;
      const { job: text, plan } = toRecord(shiftMs === 0 ? job : shiftJob(job, -shiftMs));
      statements.keepJob.run(job.id, version + 1, pruneAtMs, text);
      statements.keepJobClock.run(job.id, this.#offsetMs() - shiftMs);
      if (plan !== undefined) statements.keepPlan.run(job.id, plan);
      return true;
    });
    await this.#file.sync();
    return written;
  }

  #rows() {
    return this.#file
      .guard(() => this.#file.statements.jobs.all(this.#file.nowMs()))
      .map((row) => this.#toStoredJob(row));
  }

  #toStoredJob({ id, job, plan, version, offsetMs }: Record<string, SQLOutputValue>) {
    const record = { job: String(job), ...(typeof plan === "string" && { plan }) };
    const parsed = { ...parseJob(String(id), record), version: Number(version) };
    const shiftMs = typeof offsetMs === "number" ? Math.round(this.#offsetMs() - offsetMs) : 0;
    if ("foreign" in parsed || Math.abs(shiftMs) < leastJumpMs) return parsed;
    return { ...parsed, job: { ...shiftJob(parsed.job, shiftMs), shiftMs } };
  }

  /** Changes only if the wall clock is set, or the machine was off for more than an hour. */
  #offsetMs(): number {
    return this.#machine.wallMs() - this.#file.nowMs();
  }

  /** Deletes old jobs; the ledger keeps their sums under one common name. */
  #prune(): void {
    const { statements } = this.#file;
    for (const { id } of statements.oldJobs.all(this.#file.nowMs())) {
      const key = jobKey(String(id));
      for (const table of ["Agent", "Target", "Fates"] as const) {
        statements[`move${table}`].run(key, forgottenJobsKey);
        statements[`drop${table}`].run(key);
      }
    }
    // Each write of a job calls this, and most delete nothing.
    if (statements.pruneJobs.run(this.#file.nowMs()).changes === 0) return;
    statements.prunePlans.run();
    statements.pruneJobClocks.run();
  }
}
