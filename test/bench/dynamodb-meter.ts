import type { MeteredCall } from "./metered-endpoint.ts";

export interface DynamoDbUnits {
  readonly reads: number;
  readonly writes: number;
}

/** Counts the request units that DynamoDB would bill, by kind of item. Calls must set `ReturnConsumedCapacity`. */
export class DynamoDbMeter {
  readonly #units = new Map<string, { reads: number; writes: number }>();

  take({ action, status, body, answer }: MeteredCall): void {
    const kind = kindOf(body.Key ?? body.RequestItems?.[Object.keys(body.RequestItems)[0]]?.Keys?.[0]);
    const units = this.#units.get(kind) ?? { reads: 0, writes: 0 };
    this.#units.set(kind, units);
    const all = [answer.ConsumedCapacity ?? []].flat() as { readonly CapacityUnits: number }[];
    const consumed = all.reduce((sum, { CapacityUnits }) => sum + CapacityUnits, 0);
    if (/^(?:Get|BatchGet|Query)/.test(action)) units.reads += consumed;
    // A write whose condition fails is billed as well; emulators do not return its units.
    else units.writes += status === 200 ? consumed : 1;
  }

  get byKind(): ReadonlyMap<string, DynamoDbUnits> {
    return this.#units;
  }

  get total(): DynamoDbUnits {
    const all = [...this.#units.values()];
    return {
      reads: all.reduce((sum, { reads }) => sum + reads, 0),
      writes: all.reduce((sum, { writes }) => sum + writes, 0),
    };
  }
}

/** The kind of an item, such as `pack page`, `tally` or `target pace`, without names of packs, processes and times. */
function kindOf(key: Readonly<Record<string, { readonly S: string }>> | undefined): string {
  const partition = key?.pk?.S.split("#")[0] ?? "other";
  return partition === "pack" || partition === "target" ? `${partition} ${key?.sk.S}` : partition;
}
