import { bucketOf } from "./latency-histogram.ts";
import type { Fate, Figures } from "./state/port.ts";

const minuteMs = 60_000;
// What waits while the state does not answer: a day of minutes.
const maxMinutes = 1_440;

/** Collects the figures of one target in one process, and adds them to those of all when it is told to. */
export class FigureBook {
  readonly #target: string;
  readonly #figures: Figures;
  readonly #now: () => number;
  readonly #minutes = new Map<number, Map<string, number>>();

  /** @param now milliseconds since 1970 */
  constructor(target: string, figures: Figures, now: () => number = Date.now) {
    this.#target = target;
    this.#figures = figures;
    this.#now = now;
  }

  /** Counts requests by what became of them. */
  count(what: Fate | "undelivered" | "timedOut", requests = 1): void {
    this.#add(what, requests);
  }

  /** Counts an answer by how long it took, from the moment the request could leave to the end of the answer. */
  countAnswer(tookMs: number): void {
    this.#add(bucketOf(tookMs), 1);
  }

  /** Adds what was collected. Never rejects: what the state does not take is kept for the next time. */
  async flush(): Promise<void> {
    for (const [minute, counts] of [...this.#minutes]) {
      this.#minutes.delete(minute);
      try {
        await this.#figures.addFigures(this.#target, minute, counts);
      } catch {
        for (const [name, count] of this.#minutes.get(minute) ?? []) counts.set(name, (counts.get(name) ?? 0) + count);
        if (this.#minutes.size < maxMinutes) this.#minutes.set(minute, counts);
        return;
      }
    }
  }

  #add(name: string, count: number): void {
    const minute = Math.floor(this.#now() / minuteMs) * minuteMs;
    let counts = this.#minutes.get(minute);
    if (!counts) {
      counts = new Map();
      this.#minutes.set(minute, counts);
    }
    counts.set(name, (counts.get(name) ?? 0) + count);
  }
}
