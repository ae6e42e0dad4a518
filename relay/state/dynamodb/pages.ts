import { setImmediate as turn } from "node:timers/promises";
import { judge, type Page, toPage, toPageKey, toPageName } from "./page.ts";
import { type PageDraft, toBar } from "./page-draft.ts";
import type { TableClient } from "./table-client.ts";

/** Reads and writes the items of pages. All methods throw `StateError`. */
export class Pages {
  readonly #client: TableClient;
  readonly #now: () => number;
  /** The pages that this process has read or written last, oldest first. They may have changed since. */
  readonly #known = new Map<string, Page>();
  #next: { readonly names: Set<string>; readonly items: Promise<ReadonlyMap<string, Page>> } | undefined;

  constructor(client: TableClient, now: () => number) {
    this.#client = client;
    this.#now = now;
  }

  /** Reads a page. All pages that are asked for in the same tick are read in one call, and each once. */
  async read(name: string): Promise<Page> {
    this.#next ??= this.#startRead();
    this.#next.names.add(name);
    const page = (await this.#next.items).get(name) ?? toPage(undefined);
    this.#keep(name, page);
    return page;
  }

  /** The existing pages, by name. */
  async readAll(names: Iterable<string>): Promise<ReadonlyMap<string, Page>> {
    const items = await this.#client.getAll([...new Set(names)].map(toPageKey));
    return new Map(items.map((item) => [toPageName(item), toPage(item)]));
  }

  /** The page as this process last saw it; a guess that a write has to confirm. */
  recall(name: string): Page | undefined {
    return this.#known.get(name);
  }

  /** Returns the current page if the operation was not made. Throws if it is unknown whether it was made. */
  async write(name: string, draft: PageDraft, writer: string, operation: number): Promise<Page | undefined> {
    const change = draft.toChange(writer, operation, this.#expiresAt());
    this.#known.delete(name);
    const { written, item } = await this.#client.update(toPageKey(name), change);
    const found = written ? undefined : toPage(item);
    this.#keep(name, found ?? draft.toPage(writer, operation));
    // A first attempt may have made the operation, and only its answer was lost.
    return found && judge(found, writer, operation) !== "made" ? found : undefined;
  }

  /** Whether an operation was made. If it was not, it is barred: it can never be made later. */
  async decide(name: string, writer: string, operation: number): Promise<boolean> {
    this.#known.delete(name);
    for (;;) {
      const page = toPage(await this.#client.get(toPageKey(name)));
      const verdict = judge(page, writer, operation);
      if (verdict !== "open") return verdict === "made";
      const bar = toBar(name, page, writer, operation, this.#expiresAt());
      if ((await this.#client.update(toPageKey(name), bar)).written) return false;
    }
  }

  #startRead() {
    const names = new Set<string>();
    const items = turn().then(() => {
      this.#next = undefined;
      return this.#readTogether([...names]);
    });
    return { names, items };
  }

  async #readTogether([first, ...others]: readonly string[]): Promise<ReadonlyMap<string, Page>> {
    if (others.length > 0) return this.readAll([first, ...others]);
    return new Map([[first, toPage(await this.#client.get(toPageKey(first)))]]);
  }

  #keep(name: string, page: Page): void {
    this.#known.delete(name);
    this.#known.set(name, page);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= knownMost) break;
      this.#known.delete(oldest);
    }
  }

  #expiresAt(): number {
    return Math.ceil(this.#now() / 1_000) + keptSeconds;
  }
}

// Each may have the fates of 4,000 requests at all targets.
const knownMost = 64;
// SQS keeps messages and dead letters for at most 14 days.
const keptSeconds = 15 * 86_400;
