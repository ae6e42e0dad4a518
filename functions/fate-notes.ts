import type { Fate, Ledger } from "../relay/state/port.ts";

// How often the fates of a pack that is being paced are noted: what is sent again after a crash.
const noteEveryMs = 1_000;

/** Collects the fates of a pack and notes them in the ledger each second. */
export class FateNotes {
  readonly #ledger: Ledger;
  readonly #target: string;
  readonly #pack: string;
  #fates = new Map<number, Fate>();
  #timer: NodeJS.Timeout | undefined;
  #noting: Promise<void> = Promise.resolve();

  constructor(ledger: Ledger, target: string, pack: string) {
    this.#ledger = ledger;
    this.#target = target;
    this.#pack = pack;
  }

  add(index: number, fate: Fate): void {
    this.#fates.set(index, fate);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Where it fails, the next time has it all again, and `flush` is the last.
      this.#noting = this.#noting.then(() => this.#note()).catch(() => {});
    }, noteEveryMs);
  }

  /** Notes what is left. Rejects where a fate could not be noted, so that the pack comes again. */
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
      await this.#ledger.settle(this.#target, this.#pack, fates);
    } catch (error) {
      this.#fates = new Map([...fates, ...this.#fates]);
      throw error;
    }
  }
}
