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
import type { Jobs, VersionedJob } from "../port.ts";
import type { StateFile } from "./sql.ts";

/** Stores each job in one row with a version. */
export class EmbeddedJobs implements Jobs {
  readonly #file: StateFile;

  constructor(file: StateFile) {
    this.#file = file;
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
    const found = toStoredJob(row);
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
      const { job: text, plan } = toRecord(job);
      statements.keepJob.run(job.id, version + 1, pruneAtMs, text);
      if (plan !== undefined) statements.keepPlan.run(job.id, plan);
      return true;
    });
    await this.#file.sync();
    return written;
  }

  #rows() {
    return this.#file.guard(() => this.#file.statements.jobs.all(this.#file.nowMs())).map(toStoredJob);
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
    if (statements.pruneJobs.run(this.#file.nowMs()).changes > 0) statements.prunePlans.run();
  }
}

function toStoredJob({ id, job, plan, version }: Record<string, SQLOutputValue>) {
  const record = { job: String(job), ...(typeof plan === "string" && { plan }) };
  return { ...parseJob(String(id), record), version: Number(version) };
}
