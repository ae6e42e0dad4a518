import type { Fate, Settlement } from "../relay/state/port.ts";

// Interval at which the fates of a pack in progress are written: after a crash, at most the requests of the last interval
// are sent again.
const noteEveryMs = 1_000;

/** Collects the fates of a pack and writes them to the ledger each second. */
export class FateNotes {
  readonly #settle: (settlement: Settlement) => Promise<void>;
  #fates = new Map<number, Fate>();
  #timer: NodeJS.Timeout | undefined;
  #noting: Promise<void> = Promise.resolve();

  /** @param settle writes the fates to the ledger */
  constructor(settle: (settlement: Settlement) => Promise<void>) {
    this.#settle = settle;
  }

  add(index: number, fate: Fate): void {
    this.#fates.set(index, fate);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // A failed write keeps its fates for the next one; the last is `flush`, which reports its failure.
      this.#noting = this.#noting.then(() => this.#note()).catch(() => {});
    }, noteEveryMs);
  }

  /** Writes the remaining fates. Rejects if that fails, so that the pack is delivered again. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#noting;
    await this.#note();
  }

  async #note(): Promise<void> {
    const fates = this.#fates;
    if (fates.size === 0) return;
    this.#fates = new Map();
    try {
      await this.#settle(fates);
    } catch (error) {
      this.#fates = new Map([...fates, ...this.#fates]);
      throw error;
    }
  }
}
