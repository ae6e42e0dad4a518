import { randomUUID } from "node:crypto";
import type { ClosedRound, SlotRounds } from "../port.ts";
import type { OpenRound, RoundTable, SlotRound } from "../slot-round.ts";
import { mostRounds, readStoredRound } from "../stored-round.ts";
import { targetPartition } from "./keys.ts";
import type { Item, TableClient } from "./table-client.ts";

/** Stores the newest round of each target in one item. */
export class DynamoDbRounds implements SlotRounds {
  readonly #client: TableClient;
  readonly #timeoutMs: number;

  /** @param timeoutMs short, so that the answer to a call arrives before the round has passed */
  constructor(client: TableClient, timeoutMs: number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
  }

  async read(target: string): Promise<RoundTable | undefined> {
    return toTable(await this.#client.get(toKey(target), this.#timeoutMs));
  }

  async enter(target: string): Promise<RoundTable | undefined> {
    const { item } = await this.#client.update(
      toKey(target),
      {
        update: "SET entered = entered + :one",
        condition: "attribute_exists(entered)",
        values: { ":one": { N: "1" } },
        returnAll: true,
      },
      this.#timeoutMs,
    );
    return toTable(item);
  }

  async close(target: string, last: SlotRound, next: OpenRound, self: boolean): Promise<ClosedRound> {
    return this.#write(target, last, next, { update: "entered + :self", self: self ? 1 : 0 });
  }

  async open(target: string, last: SlotRound | undefined, next: SlotRound): Promise<ClosedRound> {
    return this.#write(target, last, next, { update: ":self", self: 1 });
  }

  async #write(
    target: string,
    last: SlotRound | undefined,
    next: OpenRound,
    seats: { readonly update: string; readonly self: number },
  ): Promise<ClosedRound> {
    // Identifies this write: if the condition fails, the first attempt may have written, and only its answer was lost.
    const write = randomUUID();
    const sets = numbers.map((name) => `#${name} = :${name}`).join(", ");
    const { written, item } = await this.#client.update(
      toKey(target),
      {
        update: `SET ${sets}, seats = ${seats.update}, entered = :zero, closedBy = :write`,
        // Without `last` there is no round, or only one whose number `readStoredRound` refuses.
        condition: last ? "#number = :last" : "attribute_not_exists(#number) OR NOT #number BETWEEN :zero AND :most",
        names: Object.fromEntries(numbers.map((name) => [`#${name}`, name])),
        values: {
          ...Object.fromEntries(numbers.map((name) => [`:${name}`, { N: String(next[name]) }])),
          ":self": { N: String(seats.self) },
          ":zero": { N: "0" },
          ":write": { S: write },
          ...(last ? { ":last": { N: String(last.number) } } : { ":most": { N: String(mostRounds) } }),
        },
        returnAll: true,
      },
      this.#timeoutMs,
    );
    return { written: written || item?.closedBy?.S === write, table: toTable(item) };
  }
}

const numbers = ["number", "startUs", "endUs", "closeUs", "slotUs", "firstSlot", "firstUs"] as const;

function toKey(target: string) {
  return { pk: targetPartition(target), sk: "round" };
}

function toTable(item: Item | undefined): RoundTable | undefined {
  if (item?.startUs === undefined) return undefined;
  return readStoredRound((name) => Number(item[name]?.N));
}
