import { randomUUID } from "node:crypto";
import type { Controls, VersionedControl } from "../port.ts";
import { parseControl, type TargetControl } from "../target-control.ts";
import { targetPartition } from "./keys.ts";
import type { TableClient } from "./table-client.ts";

/** The control of each target in one item with a version. */
export class DynamoDbControls implements Controls {
  readonly #client: TableClient;

  constructor(client: TableClient) {
    this.#client = client;
  }

  async readControl(target: string): Promise<VersionedControl> {
    const item = await this.#client.get(toKey(target));
    if (!item) return { control: {}, version: 0 };
    return { control: parseControl(String(item.control?.S)), version: Number(item.version?.N) };
  }

  async writeControl(target: string, control: TargetControl, version: number): Promise<boolean> {
    // Tells whose write it is that stands in the way: it may be this one, of which the first answer was lost.
    const write = randomUUID();
    const { written, item } = await this.#client.update(toKey(target), {
      update: "SET control = :control, version = :next, writtenBy = :write",
      condition: version === 0 ? "attribute_not_exists(version)" : "version = :seen",
      values: {
        ":control": { S: JSON.stringify(control) },
        ":next": { N: `${version + 1}` },
        ":write": { S: write },
        ...(version !== 0 && { ":seen": { N: `${version}` } }),
      },
    });
    return written || item?.writtenBy?.S === write;
  }
}

function toKey(target: string) {
  return { pk: targetPartition(target), sk: "control" };
}
