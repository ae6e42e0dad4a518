/** Lets so many holders in at once; the others wait in the order they came. */
export class Semaphore {
  readonly #waiting = new Set<() => void>();
  #permits: number;
  /** Below 0 while there are more holders than there are permits now. */
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

  /** True where there is a permit at once, which is then held. */
  tryAcquire(): boolean {
    if (this.#free <= 0) return false;
    this.#free--;
    return true;
  }

  /** Rejects with the signal's reason where that is raised first; then nothing is held. */
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
