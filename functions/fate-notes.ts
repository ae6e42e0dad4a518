import type { Fate, Settlement } from "../relay/state/port.ts";

// Interval at which the fates of packs in progress are written: after a crash, at most the requests of the last interval are
// sent again.
const noteEveryMs = 1_000;

/** Writes the fates of one pack to the ledger. */
type Settle = (settlement: Settlement) => Promise<void>;

/**
 * The fates of the packs that a process replays, written to the ledger each second and when a pack ends. If the ledger shares
 * writes, a pack that has ended waits for others, but no longer than that second: then they cost one write.
 */
export class FateNotes {
  readonly #sharesWrites: boolean;
  readonly #packs = new Set<PackFates>();
  #timer: NodeJS.Timeout | undefined;

  constructor(sharesWrites: boolean) {
    this.#sharesWrites = sharesWrites;
  }

  /**
   * Opens the notes of a pack, which end with `PackFates.flush`.
   *
   * @param patient whether more packs may arrive before this one has ended
   */
  open(settle: Settle, patient: boolean): PackFates {
    const fates: PackFates = new PackFates(settle, {
      onAdd: () => this.#startTimer(),
      onEnd: () => {
        this.#packs.add(fates);
        if (!this.#sharesWrites) fates.note();
        else if (this.#areEnoughEnded(patient)) this.#note();
        else this.#startTimer();
      },
      onNoted: () => {
        this.#packs.delete(fates);
        if (this.#sharesWrites && this.#areEnoughEnded(patient)) this.#note();
      },
    });
    this.#packs.add(fates);
    return fates;
  }

  #areEnoughEnded(patient: boolean): boolean {
    const all = [...this.#packs];
    const ended = all.filter((fates) => fates.ended).length;
    // Nothing follows the packs of a function's invocation, so all of them may wait. On a host half of them keep the target
    // busy; packs of jobs that wait for their time do not count.
    return patient ? ended >= all.filter((fates) => fates.ended || fates.unwritten).length / 2 : ended === all.length;
  }

  #startTimer(): void {
    this.#timer ??= setTimeout(() => this.#note(), noteEveryMs);
  }

  #note(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const fates of this.#packs) fates.note();
  }
}

/** The fates of one pack that are not written yet. */
export class PackFates {
  readonly #settle: Settle;
  readonly #on: { readonly onAdd: () => void; readonly onEnd: () => void; readonly onNoted: () => void };
  #fates = new Map<number, Fate>();
  #noting: Promise<void> = Promise.resolve();
  #end: PromiseWithResolvers<void> | undefined;

  constructor(
    settle: Settle,
    on: { readonly onAdd: () => void; readonly onEnd: () => void; readonly onNoted: () => void },
  ) {
    this.#settle = settle;
    this.#on = on;
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  get unwritten(): boolean {
    return this.#fates.size > 0;
  }

  add(index: number, fate: Fate): void {
    this.#fates.set(index, fate);
    this.#on.onAdd();
  }

  /**
   * Ends the notes and resolves once they are written: with false if they were written before. Rejects if writing fails, so that
   * the pack is delivered again.
   */
  async flush(): Promise<boolean> {
    try {
      if (!this.unwritten) await this.#noting;
      // A write that was in progress may have failed.
      if (!this.unwritten) return false;
      this.#end = Promise.withResolvers();
      const { promise } = this.#end;
      this.#on.onEnd();
      await promise;
      return true;
    } finally {
      this.#end = undefined;
      this.#on.onNoted();
    }
  }

  /** Begins to write the fates. A failed write keeps them for the next one, and rejects `flush`. */
  note(): void {
    const end = this.#end;
    this.#noting = this.#noting.then(() => this.#write()).then(end?.resolve, (error) => end?.reject(error));
  }

  async #write(): Promise<void> {
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
