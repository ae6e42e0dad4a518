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
  readonly #now: () => number;

  constructor(file: StateFile, now: () => number) {
    this.#file = file;
    this.#now = now;
  }

  async list(): Promise<readonly VersionedJob[]> {
    return this.#rows().flatMap(({ job, version }) => ("foreign" in job ? [] : [{ job, version }]));
  }

  async foreign(): Promise<readonly ForeignJob[]> {
    return this.#rows().flatMap(({ job }) => ("foreign" in job ? [job.foreign] : []));
  }

  async read(id: string): Promise<VersionedJob | undefined> {
    const row = this.#file.guard(() => this.#file.statements.job.get(id, this.#now()));
    if (!row) return undefined;
    const { job, version } = toStoredJob(row);
    if ("foreign" in job) throw new JobError("FOREIGN_JOB", explainForeign(job.foreign));
    return { job, version };
  }

  async write(job: Job, version: number): Promise<boolean> {
    const { statements } = this.#file;
    const written = this.#file.transaction(() => {
      this.#prune();
      const seen = Number(statements.job.get(job.id, this.#now())?.version ?? 0);
      if (seen !== version) return false;
      const pruneAtMs = job.endedAtMs === undefined ? null : job.endedAtMs + endedKeptMs;
      const { job: text, plan } = toRecord(job);
      statements.keepJob.run(job.id, version + 1, pruneAtMs, text);
      if (plan !== undefined) statements.keepPlan.run(job.id, plan);
      return true;
    });
    await this.#file.sync();
    return written;
  }

  #rows() {
    return this.#file.guard(() => this.#file.statements.jobs.all(this.#now())).map(toStoredJob);
  }

  /** Deletes old jobs; the ledger keeps their sums under one common name. */
  #prune(): void {
    const { statements } = this.#file;
    for (const { id } of statements.oldJobs.all(this.#now())) {
      const key = jobKey(String(id));
      for (const table of ["Agent", "Target", "Fates"] as const) {
        statements[`move${table}`].run(key, forgottenJobsKey);
        statements[`drop${table}`].run(key);
      }
    }
    // Each write of a job calls this, and most delete nothing.
    if (statements.pruneJobs.run(this.#now()).changes > 0) statements.prunePlans.run();
  }
}

function toStoredJob({ id, job, plan, version }: Record<string, SQLOutputValue>) {
  const record = { job: String(job), ...(typeof plan === "string" && { plan }) };
  return { job: parseJob(String(id), record), version: Number(version) };
}
