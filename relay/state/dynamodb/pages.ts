import { judge, type PackItem, type PackItemDraft, toBar, toPack, toPackItem, toPackKey } from "./pack-item.ts";
import type { TableClient } from "./table-client.ts";

/** Reads and writes the items of packs. All methods throw `StateError`. */
export class PackItems {
  readonly #client: TableClient;
  readonly #now: () => number;

  constructor(client: TableClient, now: () => number) {
    this.#client = client;
    this.#now = now;
  }

  async read(pack: string): Promise<PackItem> {
    return toPackItem(await this.#client.get(toPackKey(pack)));
  }

  /** The existing items, by pack. */
  async readAll(packs: Iterable<string>): Promise<ReadonlyMap<string, PackItem>> {
    const items = await this.#client.getAll([...new Set(packs)].map(toPackKey));
    return new Map(items.map((item) => [toPack(item), toPackItem(item)]));
  }

  /** Returns the current item if the operation was not made. Throws if it is unknown whether it was made. */
  async write(pack: string, draft: PackItemDraft, writer: string, operation: number): Promise<PackItem | undefined> {
    const change = draft.toChange(writer, operation, this.#expiresAt());
    const { written, item } = await this.#client.update(toPackKey(pack), change);
    if (written) return undefined;
    const found = toPackItem(item);
    // A first attempt may have made the operation, and only its answer was lost.
    return judge(found, writer, operation) === "made" ? undefined : found;
  }

  /** Whether an operation was made. If it was not, it is barred: it can never be made later. */
  async decide(pack: string, writer: string, operation: number): Promise<boolean> {
    for (;;) {
      const item = await this.read(pack);
      const verdict = judge(item, writer, operation);
      if (verdict !== "open") return verdict === "made";
      const bar = toBar(item, writer, operation, this.#expiresAt());
      if ((await this.#client.update(toPackKey(pack), bar)).written) return false;
    }
  }

  #expiresAt(): number {
    return Math.ceil(this.#now() / 1_000) + keptSeconds;
  }
}

// SQS keeps messages and dead letters for at most 14 days.
const keptSeconds = 15 * 86_400;
