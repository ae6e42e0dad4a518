import { keptAsideMs } from "../ended-runs.ts";
import type { RunTotals } from "../port.ts";
import type { EndedRun } from "./ended-sums.ts";
import { endedRunKeyOf } from "./keys.ts";
import type { Item, TableClient } from "./table-client.ts";

/** The rows of runs that were folded, each in an item of its own, which DynamoDB deletes after `keptAsideMs`. */
export class EndedRunItems {
  readonly #client: TableClient;
  readonly #now: () => number;

  constructor(client: TableClient, now: () => number) {
    this.#client = client;
    this.#now = now;
  }

  /**
   * Those that have an item, by name.
   *
   * @param runs with the partition of the base that each belongs to
   */
  async read(runs: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, EndedRun>> {
    if (runs.size === 0) return new Map();
    const items = await this.#client.getAll(Array.from(runs, ([run, pk]) => endedRunKeyOf(pk, run)));
    return new Map(items.map((item) => [String(item.runName?.S), toEndedRun(item)]));
  }

  /**
   * Writes the row of a run before a base drops it. The item counts only while the base has no row, so an item whose base was not
   * written afterwards does no harm. False if it cannot be written for this write of the base.
   */
  async write(pk: string, run: string, { packs, requests, lastSequence, foldNumber }: EndedRun): Promise<boolean> {
    const row = JSON.stringify([packs, requests, lastSequence]);
    const { written, item } = await this.#client.update(endedRunKeyOf(pk, run), {
      update: "SET runName = :run, runRow = :row, foldNumber = :number, expiresAt = :expiresAt",
      // A process that was overtaken between the two writes must not replace a newer row.
      condition: "attribute_not_exists(foldNumber) OR foldNumber < :number",
      values: {
        ":run": { S: run },
        ":row": { S: row },
        ":number": { N: `${foldNumber}` },
        ":expiresAt": { N: `${Math.ceil((this.#now() + keptAsideMs) / 1_000)}` },
      },
    });
    return written || (item?.foldNumber?.N === `${foldNumber}` && item.runRow?.S === row);
  }
}

function toEndedRun(item: Item): EndedRun {
  const [packs, requests, lastSequence] = JSON.parse(String(item.runRow?.S)) as [number, number, number];
  return { packs, requests, lastSequence, foldNumber: Number(item.foldNumber?.N) } satisfies RunTotals & EndedRun;
}
