/** Upper bounds of the buckets, in milliseconds. */
export const ackBoundsMs = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100] as const;

/**
 * A histogram of the time from the arrival of a chunk in this process to the write of its answer. Its buckets are fixed
 * and an observation allocates nothing, because HAProxy holds a client's request meanwhile.
 */
export class AckLatency {
  // One more bucket, for times above the last bound.
  readonly #counts = new Float64Array(ackBoundsMs.length + 1);
  #sumMs = 0;

  observe(elapsedMs: number): void {
    let bucket = 0;
    while (bucket < ackBoundsMs.length && elapsedMs > ackBoundsMs[bucket]) bucket++;
    this.#counts[bucket]++;
    this.#sumMs += elapsedMs;
  }

  /** Chunks per bucket, not cumulative; the last bucket has no upper bound. */
  get counts(): Readonly<Float64Array> {
    return this.#counts;
  }

  get sumMs(): number {
    return this.#sumMs;
  }
}
