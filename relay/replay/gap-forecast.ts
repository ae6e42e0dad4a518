/** Forecasts the next event from the gaps between earlier events, which may come in bursts. */
export class GapForecast {
  /** How often a gap of each length has been seen; old gaps count less and less. */
  readonly #counts = new Float64Array(buckets);
  #weight = 1;

  note(gapUs: number): void {
    this.#weight *= growth;
    this.#counts[bucketOf(gapUs)] += this.#weight;
    if (this.#weight < 1e12) return;
    for (let bucket = 0; bucket < buckets; bucket++) this.#counts[bucket] /= this.#weight;
    this.#weight = 1;
  }

  /** The least likely length of a gap that has lasted for `idleUs`; undefined if no recent gap was longer. */
  after(idleUs: number): number | undefined {
    const least = this.#weight * rarest;
    for (let bucket = bucketOf(idleUs) + 1; bucket < buckets; bucket++) {
      if (this.#counts[bucket] > least) return lengthOf(bucket);
    }
    return undefined;
  }
}

// Lengths from 1 ms to 75 s, each a quarter longer than the one before.
const shortestUs = 1_000;
const factor = 1.25;
const buckets = 51;
// The count of a gap halves with every 140 newer ones, and gaps are forgotten after about 400.
const growth = 1.005;
const rarest = 0.13;

function bucketOf(gapUs: number): number {
  if (gapUs < shortestUs) return 0;
  return Math.min(buckets - 1, 1 + Math.floor(Math.log(gapUs / shortestUs) / Math.log(factor)));
}

function lengthOf(bucket: number): number {
  return bucket === 0 ? 0 : shortestUs * factor ** (bucket - 1);
}
