import { noteFates } from "../fate-sheet.ts";
import {
  type FannedOutPack,
  type FateSheet,
  type Ledger,
  type LedgerTotals,
  type Settlement,
  StateError,
} from "../port.ts";
import { emptyPackItem, type PackItem, PackItemDraft } from "./pack-item.ts";
import type { PackItems } from "./pack-items.ts";
import type { Tallies } from "./tallies.ts";
import type { WriterTally } from "./writer-tally.ts";

export interface DynamoDbLedgerOptions {
  readonly packItems: PackItems;
  readonly tallies: Tallies;
  readonly createTally: () => WriterTally;
}

/**
 * Stores the ledger in one item per pack and one per process: one write for each pack, plus a few writes a second for all
 * packs together. The sums stay exact if a process dies at any point. All methods throw `StateError`; the operation may then
 * have been recorded, and repeating it does not count it twice.
 */
export class DynamoDbLedger implements Ledger {
  readonly #options: DynamoDbLedgerOptions;
  readonly #turns = new Map<string, Turn>();
  readonly #doubts = new Set<Doubt>();
  #tally: WriterTally;
  #clearing: Promise<void> | undefined;

  constructor(options: DynamoDbLedgerOptions) {
    this.#options = options;
    this.#tally = options.createTally();
  }

  async recordFanOut(pack: FannedOutPack): Promise<void> {
    for (const settlement of pack.targets.values()) assertIndexes(settlement);
    await this.#record(pack.pack, { fresh: true, draw: (draft) => draft.fanOut(pack) });
  }

  async settle(target: string, pack: string, settlement: Settlement, redrives = 0): Promise<void> {
    assertIndexes(settlement);
    await this.#record(pack, { fresh: false, draw: (draft) => draft.settle(target, settlement, redrives) });
  }

  async reopen(target: string, pack: string, indexes: readonly number[], redrives: number): Promise<void> {
    await this.#record(pack, { fresh: false, draw: (draft) => draft.reopen(target, indexes, redrives) });
  }

  async move(from: string, to: string, pack: string, indexes: readonly number[], redrives: number): Promise<void> {
    await this.#record(pack, { fresh: false, draw: (draft) => draft.move(from, to, indexes, redrives) });
  }

  async fannedOut(pack: string): Promise<ReadonlySet<string>> {
    const { targets } = await this.#options.packItems.read(pack);
    return new Set([...targets].filter(([, { fannedOut }]) => fannedOut).map(([target]) => target));
  }

  async sheet(target: string, pack: string): Promise<FateSheet> {
    const { targets } = await this.#options.packItems.read(pack);
    return targets.get(target)?.sheet ?? new Uint8Array();
  }

  async totals(): Promise<LedgerTotals> {
    return (await this.#options.tallies.sum()).toTotals();
  }

  /** Throws `StateError`; even then nothing is lost. */
  async close(): Promise<void> {
    await Promise.allSettled(Array.from(this.#turns.values(), ({ done }) => done));
    await this.#clearDoubts();
    await this.#tally.close();
  }

  /** Writes each pack once at a time; the entries that arrive during a write are written together after it. */
  #record(pack: string, entry: Entry): Promise<void> {
    const last = this.#turns.get(pack);
    if (last && !last.begun) {
      last.entries.push(entry);
      return last.done;
    }
    const turn: Turn = { entries: [entry], begun: false, done: Promise.resolve() };
    turn.done = this.#take(pack, turn, last);
    this.#turns.set(pack, turn);
    return turn.done;
  }

  async #take(pack: string, turn: Turn, last: Turn | undefined): Promise<void> {
    await Promise.allSettled([last?.done]);
    turn.begun = true;
    try {
      // A pack that is fanned out is nearly always new, so its item is not read first.
      const fresh = !last && turn.entries.every((entry) => entry.fresh);
      await this.#write(pack, turn.entries, fresh ? emptyPackItem : undefined);
    } finally {
      if (this.#turns.get(pack) === turn) this.#turns.delete(pack);
    }
  }

  async #write(pack: string, entries: readonly Entry[], guess: PackItem | undefined): Promise<void> {
    await this.#clearDoubts();
    const { packItems, createTally } = this.#options;
    let item = guess ?? (await packItems.read(pack));
    for (let tries = 0; tries < triesMost; tries++) {
      const draft = new PackItemDraft(item);
      for (const { draw } of entries) draw(draft);
      if (!draft.changed) return;
      // Operations in progress finish in the full tally, which is folded an hour later.
      if (this.#tally.full) this.#tally = createTally();
      const tally = this.#tally;
      const operation = await tally.announce(pack, draft.sums);
      if (operation === undefined) {
        if (this.#tally === tally) this.#tally = createTally();
        continue;
      }
      const other = await this.#make(pack, draft, tally, operation);
      if (!other) return;
      item = other;
    }
    throw new StateError(
      `other processes changed the ledger of pack ${pack} first, ${triesMost} times; this is temporary`,
    );
  }

  /** Returns the item as it is now if another writer was first. */
  async #make(
    pack: string,
    draft: PackItemDraft,
    tally: WriterTally,
    operation: number,
  ): Promise<PackItem | undefined> {
    try {
      const other = await this.#options.packItems.write(pack, draft, tally.writer, operation);
      if (other) tally.drop(operation);
      else tally.count(operation);
      return other;
    } catch (error) {
      tally.setAside(operation);
      this.#doubts.add({ pack, tally, operation });
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
      const { pack, tally, operation } = doubt;
      if (await this.#options.packItems.decide(pack, tally.writer, operation)) tally.count(operation);
      else tally.drop(operation);
      this.#doubts.delete(doubt);
    }
  }
}

// A failed attempt means that another writer has made progress.
const triesMost = 50;

interface Entry {
  /** True if the pack probably has no item yet; a wrong guess does no harm. */
  readonly fresh: boolean;
  readonly draw: (draft: PackItemDraft) => void;
}

interface Turn {
  readonly entries: Entry[];
  begun: boolean;
  done: Promise<void>;
}

interface Doubt {
  readonly pack: string;
  readonly tally: WriterTally;
  readonly operation: number;
}

/** Checked early: a bad index must not fail the entries of others that are written together with this one. */
function assertIndexes(settlement: Settlement): void {
  noteFates(new Uint8Array(), settlement);
}
