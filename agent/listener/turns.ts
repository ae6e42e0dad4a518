// Time for large chunks in one round of the event loop, before other connections are looked at.
const roundMs = 1;

/**
 * Lets connections with much to do take turns, so that the event loop soon comes back to those with little. In each round of the
 * event loop, work of about one millisecond is done; the rest waits for the next rounds, in order.
 */
export class Turns {
  readonly #waiting = new Set<() => void>();
  #spentMs = 0;
  #roundEnds = false;

  /** True if this round has no time left, or others wait already: then call `wait`. */
  get taken(): boolean {
    return this.#waiting.size > 0 || this.#spentMs >= roundMs;
  }

  /** Does the work at once, and counts its time, beginning with `startMs`. */
  spend(work: () => void, startMs = performance.now()): void {
    this.#endRound();
    work();
    this.#spentMs += performance.now() - startMs;
  }

  /** Calls `work` in its turn, unless `forget` is called with it before. */
  wait(work: () => void): void {
    this.#waiting.add(work);
    this.#endRound();
  }

  forget(work: () => void): void {
    this.#waiting.delete(work);
  }

  /** Does all work that waits. */
  finish(): void {
    for (const work of this.#waiting) {
      this.#waiting.delete(work);
      work();
    }
  }

  #endRound(): void {
    if (this.#roundEnds) return;
    this.#roundEnds = true;
    setImmediate(() => {
      this.#roundEnds = false;
      this.#spentMs = 0;
      for (const work of this.#waiting) {
        if (this.#spentMs >= roundMs) break;
        this.#waiting.delete(work);
        this.spend(work);
      }
      if (this.#waiting.size > 0) this.#endRound();
    });
  }
}
