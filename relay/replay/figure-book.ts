import type { Fate, Figures } from "../state/port.ts";
import { bucketOf } from "./latency-histogram.ts";
import type { AnswerTimes } from "./outcome.ts";

const minuteMs = 60_000;
// One day: how many minutes are kept while the state does not answer.
const maxMinutes = 1_440;
// DynamoDB allows 300 operators and an expression of 4 KB in one update.
const maxCountersAtOnce = 200;

/** Collects the figures of one target in one process; `flush` adds them to the shared figures. */
export class FigureBook {
  readonly #target: string;
  readonly #figures: Pick<Figures, "add">;
  readonly #now: () => number;
  readonly #minutes = new Map<number, Map<string, number>>();

  /** @param now milliseconds since 1970 */
  constructor(target: string, figures: Pick<Figures, "add">, now: () => number = Date.now) {
    this.#target = target;
    this.#figures = figures;
    this.#now = now;
  }

  /**
   * Counts requests by their outcome. `answered.expired` counts requests that were sent with their captured credentials and
   * answered with 401 or 403; they also count as `answered.4xx`.
   */
  count(outcome: Fate | "undelivered" | "closed" | "timedOut" | "answered.expired", requests = 1): void {
    increase(this.#counts(), outcome, requests);
  }

  /** Counts an answer by its times and by the age of its request at sending, in milliseconds. */
  countAnswer(ageMs: number, times: AnswerTimes | undefined): void {
    const counts = this.#counts();
    increase(counts, bucketOf(ageMs, "age"), 1);
    if (!times) return;
    increase(counts, bucketOf(times.totalMs, "latency"), 1);
    increase(counts, bucketOf(times.firstByteMs, "firstByte"), 1);
    if (times.connectMs !== undefined) increase(counts, bucketOf(times.connectMs, "connect"), 1);
  }

  /** Adds the collected counters to the state. Never rejects: counters that the state refuses are kept for the next flush. */
  async flush(): Promise<void> {
    for (const [minute, counts] of [...this.#minutes]) {
      this.#minutes.delete(minute);
      try {
        while (counts.size > 0) {
          const some = new Map([...counts].slice(0, maxCountersAtOnce));
          await this.#figures.add(this.#target, minute, some);
          for (const name of some.keys()) counts.delete(name);
        }
      } catch {
        for (const [name, count] of this.#minutes.get(minute) ?? []) increase(counts, name, count);
        if (this.#minutes.size < maxMinutes) this.#minutes.set(minute, counts);
        return;
      }
    }
  }

  #counts(): Map<string, number> {
    const minute = Math.floor(this.#now() / minuteMs) * minuteMs;
    let counts = this.#minutes.get(minute);
    if (!counts) {
      counts = new Map();
      this.#minutes.set(minute, counts);
    }
    return counts;
  }
}

function increase(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}
