import { noteFates } from "../fate-sheet.ts";
import {
  type FannedOutPack,
  type FateSheet,
  type Ledger,
  type LedgerTotals,
  type Settlement,
  StateError,
} from "../port.ts";
import { EndedSums } from "./ended-sums.ts";
import { Sums } from "./ledger-sums.ts";
import { emptyPage, type Page, sheetsOf, toPlace } from "./page.ts";
import { PageDraft } from "./page-draft.ts";
import type { Pages } from "./pages.ts";
import type { Tallies } from "./tallies.ts";
import type { WriterTally } from "./writer-tally.ts";

export interface DynamoDbLedgerOptions {
  readonly pages: Pages;
  /** All tallies of the table; their sums add up to the ledger's. */
  readonly tallies: readonly Tallies[];
  readonly createTally: () => WriterTally;
}

/**
 * Stores the ledger in one item per group of packs and one per process: one write for the packs of a group that are recorded
 * together, plus a few writes a second for all packs. The sums stay exact if a process dies at any point. All methods throw
 * `StateError`; the operation may then have been recorded, and repeating it does not count it twice.
 */
export class DynamoDbLedger implements Ledger {
  readonly sharesWrites = true;
  readonly #options: DynamoDbLedgerOptions;
  /** By page. */
  readonly #turns = new Map<string, Turn>();
  readonly #doubts = new Set<Doubt>();
  readonly #retiring = new Set<Promise<void>>();
  #tally: WriterTally;
  #clearing: Promise<void> | undefined;

  constructor(options: DynamoDbLedgerOptions) {
    this.#options = options;
    this.#tally = options.createTally();
  }

  async recordFanOut(pack: FannedOutPack): Promise<void> {
    for (const settlement of pack.targets.values()) assertIndexes(settlement);
    const attributes = pack.targets.size + 1;
    await this.#record(pack.pack, { fresh: true, attributes, draw: (draft, slot) => draft.fanOut(slot, pack) });
  }

  async settle(target: string, pack: string, settlement: Settlement, redrives = 0): Promise<void> {
    assertIndexes(settlement);
    const draw: Entry["draw"] = (draft, slot) => draft.settle(slot, target, settlement, redrives);
    await this.#record(pack, { fresh: false, attributes: 1, draw });
  }

  async reopen(target: string, pack: string, indexes: readonly number[], redrives: number): Promise<void> {
    const draw: Entry["draw"] = (draft, slot) => draft.reopen(slot, target, indexes, redrives);
    await this.#record(pack, { fresh: false, attributes: 1, draw });
  }

  async move(from: string, to: string, pack: string, indexes: readonly number[], redrives: number): Promise<void> {
    const draw: Entry["draw"] = (draft, slot) => draft.move(slot, from, to, indexes, redrives);
    await this.#record(pack, { fresh: false, attributes: 2, draw });
  }

  async fannedOut(pack: string): Promise<ReadonlySet<string>> {
    const { page, slot } = toPlace(pack);
    const sheets = sheetsOf(await this.#options.pages.read(page), slot);
    return new Set([...sheets].filter(([, { fannedOut }]) => fannedOut).map(([target]) => target));
  }

  async sheet(target: string, pack: string): Promise<FateSheet> {
    const { page, slot } = toPlace(pack);
    return sheetsOf(await this.#options.pages.read(page), slot).get(target)?.sheet ?? new Uint8Array();
  }

  async totals(runs: readonly string[] = []): Promise<LedgerTotals> {
    const all = { sums: new Sums(), ended: new EndedSums() };
    for (const { sums, ended } of await Promise.all(this.#options.tallies.map((tallies) => tallies.sum(runs)))) {
      all.sums.add(sums);
      all.ended.add(ended);
    }
    const ended = all.ended.toTotals();
    return { ...all.sums.toTotals(), ...(ended.length > 0 && { ended }) };
  }

  /** Throws `StateError`; even then nothing is lost. */
  async close(): Promise<void> {
    await Promise.allSettled(Array.from(this.#turns.values(), ({ done }) => done));
    await this.#clearDoubts();
    await Promise.all(this.#retiring);
    await this.#tally.close();
  }

  /** Writes each page once at a time; the entries that arrive before the write begins are written together. */
  #record(pack: string, { fresh, attributes, draw }: Entry): Promise<void> {
    const { page, slot } = toPlace(pack);
    const entry = { fresh, attributes, draw: (draft: PageDraft) => draw(draft, slot) };
    const last = this.#turns.get(page);
    if (last && !last.begun && last.attributes + attributes <= attributesAtOnce) {
      last.entries.push(entry);
      last.attributes += attributes;
      return last.done;
    }
    const turn: Turn = { entries: [entry], attributes, begun: false, done: Promise.resolve() };
    turn.done = this.#take(page, turn, last);
    this.#turns.set(page, turn);
    return turn.done;
  }

  async #take(page: string, turn: Turn, last: Turn | undefined): Promise<void> {
    await Promise.allSettled([last?.done]);
    try {
      await this.#write(page, turn);
    } finally {
      turn.begun = true;
      if (this.#turns.get(page) === turn) this.#turns.delete(page);
    }
  }

  async #write(page: string, turn: Turn): Promise<void> {
    await this.#clearDoubts();
    const { pages } = this.#options;
    // A pack that is fanned out is nearly always new, so its page is not read first.
    let guess = pages.recall(page) ?? (turn.entries.every(({ fresh }) => fresh) ? emptyPage : undefined);
    let found: Page | undefined;
    for (let tries = 0; tries < triesMost; tries++) {
      const seen: Page = guess ?? found ?? (await pages.read(page));
      const certain = guess === undefined;
      guess = undefined;
      found = undefined;
      let draft = new PageDraft(page, seen);
      const tally = this.#currentTally();
      const operation = await tally.announce(() => {
        turn.begun = true;
        draft = new PageDraft(page, seen);
        for (const { draw } of turn.entries) draw(draft);
        return draft.changed ? { page, sums: draft.sums } : undefined;
      });
      if (operation === "needless") {
        if (certain) return;
      } else if (operation === "folded") {
        if (this.#tally === tally) this.#tally = this.#options.createTally();
        found = seen;
      } else {
        found = await this.#make(page, draft, tally, operation);
        if (!found) return;
      }
    }
    throw new StateError(
      `other processes changed the ledger of page ${page} first, ${triesMost} times; this is temporary`,
    );
  }

  /** Begins a new tally if the current one is full. */
  #currentTally(): WriterTally {
    if (this.#tally.full) {
      const retiring = this.#tally
        .retire()
        // Nothing is lost: the tally is only folded an hour later.
        .catch(() => {})
        .finally(() => this.#retiring.delete(retiring));
      this.#retiring.add(retiring);
      this.#tally = this.#options.createTally();
    }
    return this.#tally;
  }

  /** Returns the page as it is now if another writer was first. */
  async #make(page: string, draft: PageDraft, tally: WriterTally, operation: number): Promise<Page | undefined> {
    try {
      const other = await this.#options.pages.write(page, draft, tally.writer, operation);
      if (other) tally.drop(operation);
      else tally.count(operation);
      return other;
    } catch (error) {
      tally.setAside(operation);
      this.#doubts.add({ page, tally, operation });
      throw error;
    }
  }

  /** Decides the operations whose answers were lost, before anything else is announced. */
  async #clearDoubts(): Promise<void> {
    while (this.#doubts.size > 0) {
      this.#clearing ??= this.#decideAll().finally(() => {
        this.#clearing = undefined;
      });
      await this.#clearing;
    }
  }

  async #decideAll(): Promise<void> {
    for (const doubt of this.#doubts) {
      const { page, tally, operation } = doubt;
      if (await this.#options.pages.decide(page, tally.writer, operation)) tally.count(operation);
      else tally.drop(operation);
      this.#doubts.delete(doubt);
    }
  }
}

// A failed attempt means that another writer has made progress.
const triesMost = 50;
// An expression of DynamoDB may have 4 KB. An operation of its own may need more: a fan-out to a hundred targets.
const attributesAtOnce = 100;

interface Entry {
  /** True if the pack probably has no item yet; a wrong guess does no harm. */
  readonly fresh: boolean;
  /** The number of attributes that it may change. */
  readonly attributes: number;
  readonly draw: (draft: PageDraft, slot: string) => void;
}

/** Entries that are written together. */
interface Turn {
  readonly entries: { readonly fresh: boolean; readonly draw: (draft: PageDraft) => void }[];
  attributes: number;
  /** Whether the write has begun, so that no entry can be added. */
  begun: boolean;
  done: Promise<void>;
}

interface Doubt {
  readonly page: string;
  readonly tally: WriterTally;
  readonly operation: number;
}

/** Checked early: a bad index must not fail the entries of others that are written together with this one. */
function assertIndexes(settlement: Settlement): void {
  noteFates(new Uint8Array(), settlement);
}
