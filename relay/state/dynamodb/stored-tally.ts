import { Sums, type SumsJson } from "./ledger-sums.ts";
import type { Item, ItemKey } from "./table-client.ts";

/** A tally as read from the table. */
export interface StoredTally {
  readonly key: ItemKey;
  readonly writer: string;
  /** Changes with each write. */
  readonly generation: number;
  readonly writtenAtMs: number;
  /** Its writer has closed it. */
  readonly ended: boolean;
  /** It is being folded: its writer can no longer write it. */
  readonly sealed: boolean;
  readonly sums: Sums;
  readonly announced: readonly StoredAnnouncement[];
}

/** An operation that may have been made; the item of its page tells whether it was. */
interface StoredAnnouncement {
  readonly operation: number;
  readonly page: string;
  readonly sums: Sums;
}

export function toStoredTally(item: Item): StoredTally {
  const announced = JSON.parse(String(item.announced.S)) as [number, string, SumsJson][];
  return {
    key: { pk: String(item.pk.S), sk: String(item.sk.S) },
    writer: String(item.sk.S),
    generation: Number(item.generation.N),
    writtenAtMs: Number(item.writtenAtMs.N),
    ended: item.ended?.BOOL === true,
    sealed: item.sealed?.BOOL === true,
    sums: Sums.parse(JSON.parse(String(item.sums.S))),
    announced: announced.map(([operation, page, sums]) => ({ operation, page, sums: Sums.parse(sums) })),
  };
}
