import { judge, type Page, type PageDraft, toBar, toPack, toPage, toPageKey } from "./pack-item.ts";
import type { StateClient } from "./table-client.ts";

/** The items of the packs. All methods throw `StateError`. */
export class Pages {
  readonly #client: StateClient;
  readonly #now: () => number;

  constructor(client: StateClient, now: () => number) {
    this.#client = client;
    this.#now = now;
  }

  async read(pack: string): Promise<Page> {
    return toPage(await this.#client.get(toPageKey(pack)));
  }

  /** Those that there are, by pack. */
  async readAll(packs: Iterable<string>): Promise<ReadonlyMap<string, Page>> {
    const items = await this.#client.getAll([...new Set(packs)].map(toPageKey));
    return new Map(items.map((item) => [toPack(item), toPage(item)]));
  }

  /** Returns the page that stands there now where the operation was not made. Throws where nobody knows whether it was. */
  async write(pack: string, draft: PageDraft, writer: string, operation: number): Promise<Page | undefined> {
    const change = draft.toChange(writer, operation, this.#expiresAt());
    const { written, item } = await this.#client.update(toPageKey(pack), change);
    if (written) return undefined;
    const page = toPage(item);
    // A first attempt may have made it, and only its answer was lost.
    return judge(page, writer, operation) === "made" ? undefined : page;
  }

  /** Whether an operation was made. One that was not made by now never will be. */
  async decide(pack: string, writer: string, operation: number): Promise<boolean> {
    for (;;) {
      const page = await this.read(pack);
      const verdict = judge(page, writer, operation);
      if (verdict !== "open") return verdict === "made";
      const bar = toBar(page, writer, operation, this.#expiresAt());
      if ((await this.#client.update(toPageKey(pack), bar)).written) return false;
    }
  }

  #expiresAt(): number {
    return Math.ceil(this.#now() / 1_000) + keptSeconds;
  }
}

// A message lives 14 days at most, a dead letter too.
const keptSeconds = 15 * 86_400;
