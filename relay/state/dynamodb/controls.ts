import type { Controls, VersionedControl } from "../port.ts";
import { parseControl, type TargetControl } from "../target-control.ts";
import { targetPartition } from "./keys.ts";
import type { TableClient } from "./table-client.ts";

/** Stores the control of each target in one item with a version. */
export class DynamoDbControls implements Controls {
  readonly #client: TableClient;

  constructor(client: TableClient) {
    this.#client = client;
  }

  async read(target: string): Promise<VersionedControl> {
    const item = await this.#client.get(toKey(target));
    if (!item) return { control: {}, version: 0 };
    return { ...parseControl(String(item.control?.S)), version: Number(item.version?.N) };
  }

  async write(target: string, control: TargetControl, version: number): Promise<boolean> {
    return this.#client.updateVersion(toKey(target), version, { control: { S: JSON.stringify(control) } });
  }
}

function toKey(target: string) {
  return { pk: targetPartition(target), sk: "control" };
}
