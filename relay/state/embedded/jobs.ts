import type { SQLOutputValue } from "node:sqlite";
import { endedKeptMs, forgottenJobsKey, type Job, jobKey, parseJob } from "../../job/job.ts";
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
    return this.#file.guard(() => this.#file.statements.jobs.all(this.#now())).map(toVersionedJob);
  }

  async read(id: string): Promise<VersionedJob | undefined> {
    const row = this.#file.guard(() => this.#file.statements.job.get(id, this.#now()));
    return row && toVersionedJob(row);
  }

  async write(job: Job, version: number): Promise<boolean> {
    const { statements } = this.#file;
    return this.#file.transaction(() => {
      this.#prune();
      const seen = Number(statements.job.get(job.id, this.#now())?.version ?? 0);
      if (seen !== version) return false;
      const pruneAtMs = job.endedAtMs === undefined ? null : job.endedAtMs + endedKeptMs;
      statements.keepJob.run(job.id, version + 1, pruneAtMs, JSON.stringify(job));
      return true;
    });
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
    statements.pruneJobs.run(this.#now());
  }
}

function toVersionedJob({ job, version }: Record<string, SQLOutputValue>): VersionedJob {
  return { job: parseJob(String(job)), version: Number(version) };
}
