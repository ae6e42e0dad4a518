/** Upper bounds of the buckets, in milliseconds. */
export const ackBoundsMs = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100] as const;

/**
 * How long chunks waited from their arrival in this process to the write of their answer, in buckets of fixed size: it
 * allocates nothing, for HAProxy holds a client's request meanwhile.
 */
export class AckLatency {
  // One more: what is beyond the last bound.
  readonly #counts = new Float64Array(ackBoundsMs.length + 1);
  #sumMs = 0;

  observe(elapsedMs: number): void {
    let bucket = 0;
    while (bucket < ackBoundsMs.length && elapsedMs > ackBoundsMs[bucket]) bucket++;
    this.#counts[bucket]++;
    this.#sumMs += elapsedMs;
  }

  /** Chunks by bucket, the last one without a bound; not cumulative. */
  get counts(): Readonly<Float64Array> {
    return this.#counts;
  }

  get sumMs(): number {
    return this.#sumMs;
  }
}
