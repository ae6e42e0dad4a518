import { endedKeptMs, explainForeign, type ForeignJob, type Job, parseJob, toRecord } from "../../job/job.ts";
import { JobError } from "../../job/job-error.ts";
import type { Jobs, VersionedJob } from "../port.ts";
import { jobsPartition } from "./keys.ts";
import type { Item, TableClient } from "./table-client.ts";

/** Stores each job in one item with a version, all jobs in one partition. */
export class DynamoDbJobs implements Jobs {
  readonly #client: TableClient;
  readonly #now: () => number;

  constructor(client: TableClient, now: () => number) {
    this.#client = client;
    this.#now = now;
  }

  async list(): Promise<readonly VersionedJob[]> {
    return (await this.#items()).flatMap((found) => ("foreign" in found ? [] : [found]));
  }

  async foreign(): Promise<readonly ForeignJob[]> {
    return (await this.#items()).flatMap((found) => ("foreign" in found ? [found.foreign] : []));
  }

  async read(id: string): Promise<VersionedJob | undefined> {
    const found = this.#toJob(await this.#client.get(toKey(id)));
    if (found && "foreign" in found) throw new JobError("FOREIGN_JOB", explainForeign(found.foreign));
    return found;
  }

  async write(job: Job, version: number): Promise<boolean> {
    const expiresAt = job.endedAtMs !== undefined && Math.ceil((this.#now() + endedKeptMs) / 1_000);
    const { job: text, plan } = toRecord(job);
    return this.#client.updateVersion(toKey(job.id), version, {
      job: { S: text },
      ...(plan !== undefined && { loopPlan: { S: plan } }),
      ...(expiresAt && { expiresAt: { N: `${expiresAt}` } }),
    });
  }

  async #items() {
    return (await this.#client.query(jobsPartition)).flatMap((item) => this.#toJob(item) ?? []);
  }

  #toJob(item: Item | undefined): VersionedJob | { readonly foreign: ForeignJob } | undefined {
    if (item?.job?.S === undefined) return undefined;
    // DynamoDB may delete an expired item days later.
    if (Number(item.expiresAt?.N ?? Number.POSITIVE_INFINITY) * 1_000 <= this.#now()) return undefined;
    const plan = item.loopPlan?.S;
    const parsed = parseJob(String(item.sk?.S), { job: item.job.S, ...(plan !== undefined && { plan }) });
    return "foreign" in parsed ? parsed : { ...parsed, version: Number(item.version?.N) };
  }
}

function toKey(id: string) {
  return { pk: jobsPartition, sk: id };
}
