import { endedKeptMs, type Job, parseJob } from "../../job/job.ts";
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
    return (await this.#client.query(jobsPartition)).flatMap((item) => this.#toJob(item) ?? []);
  }

  async read(id: string): Promise<VersionedJob | undefined> {
    return this.#toJob(await this.#client.get(toKey(id)));
  }

  async write(job: Job, version: number): Promise<boolean> {
    const expiresAt = job.endedAtMs !== undefined && Math.ceil((job.endedAtMs + endedKeptMs) / 1_000);
    return this.#client.updateVersion(toKey(job.id), version, {
      job: { S: JSON.stringify(job) },
      ...(expiresAt && { expiresAt: { N: `${expiresAt}` } }),
    });
  }

  #toJob(item: Item | undefined): VersionedJob | undefined {
    if (item?.job?.S === undefined) return undefined;
    const job = parseJob(item.job.S);
    // DynamoDB may delete an expired item days later.
    if (job.endedAtMs !== undefined && job.endedAtMs + endedKeptMs <= this.#now()) return undefined;
    return { job, version: Number(item.version?.N) };
  }
}

function toKey(id: string) {
  return { pk: jobsPartition, sk: id };
}
