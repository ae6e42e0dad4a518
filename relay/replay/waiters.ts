interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Callers that wait for the same event. */
export class Waiters {
  readonly #waiters = new Set<Waiter>();

  get size(): number {
    return this.#waiters.size;
  }

  /** Resolves or rejects with the next `resolve` or `reject`; rejects with the signal's reason if it is aborted first. */
  async wait(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (then: () => void) => {
        this.#waiters.delete(waiter);
        signal.removeEventListener("abort", stop);
        then();
      };
      const waiter: Waiter = { resolve: () => settle(resolve), reject: (reason) => settle(() => reject(reason)) };
      const stop = () => waiter.reject(signal.reason);
      this.#waiters.add(waiter);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  resolve(): void {
    for (const { resolve } of this.#waiters) resolve();
  }

  reject(reason: unknown): void {
    for (const { reject } of this.#waiters) reject(reason);
  }
}
