/** Limits the number of concurrent holders. Others wait in the order of their calls. */
export class Semaphore {
  readonly #waiting = new Set<() => void>();
  #permits: number;
  /** Below 0 while there are more holders than permits, after `resize`. */
  #free: number;

  constructor(permits: number) {
    this.#permits = permits;
    this.#free = permits;
  }

  /** Changes the number of permits. Holders keep theirs. */
  resize(permits: number): void {
    this.#free += permits - this.#permits;
    this.#permits = permits;
    this.#admit();
  }

  /** True if no permit is free and others wait for one. */
  get exhausted(): boolean {
    return this.#free <= 0 && this.#waiting.size > 0;
  }

  /** Acquires a permit if one is free; returns whether it did. */
  tryAcquire(): boolean {
    if (this.#free <= 0) return false;
    this.#free--;
    return true;
  }

  /** Waits for a permit. Rejects with the signal's reason, without a permit, if it is aborted first. */
  async acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.tryAcquire()) return;
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.delete(enter);
        reject(signal.reason as Error);
      };
      this.#waiting.add(enter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  release(): void {
    this.#free++;
    this.#admit();
  }

  #admit(): void {
    for (const enter of this.#waiting) {
      if (this.#free <= 0) return;
      this.#free--;
      this.#waiting.delete(enter);
      enter();
    }
  }
}
