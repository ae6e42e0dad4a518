import { randomBytes } from "node:crypto";
import type { Fate, FigurePart, Figures } from "../state/port.ts";
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
  readonly #writer = randomBytes(4).toString("base64url");
  readonly #minutes = new Map<number, Map<string, number>>();
  /** The counters of a call that failed: it may have counted, so exactly these are added again. */
  #failed: Addition | undefined;
  #parts = 0;
  #flushing: Promise<void> = Promise.resolve();

  /** @param now milliseconds since 1970 */
  constructor(target: string, figures: Pick<Figures, "add">, now: () => number = Date.now) {
    this.#target = target;
    this.#figures = figures;
    this.#now = now;
  }

  /**
   * Counts requests by their outcome. `answered.expired` counts requests that were sent with their captured credentials and
   * answered with 401 or 403; they also count as `answered.4xx`. `answered.anonymous` counts requests that were sent without the
   * credentials of their target and answered; they also count as another `answered`.
   */
  count(
    outcome: Fate | "undelivered" | "closed" | "timedOut" | "answered.expired" | "answered.anonymous",
    requests = 1,
  ): void {
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
  flush(): Promise<void> {
    // One after the other: the parts must arrive in order.
    this.#flushing = this.#flushing.then(() => this.#flushAll());
    return this.#flushing;
  }

  async #flushAll(): Promise<void> {
    try {
      if (this.#failed) await this.#add(this.#failed);
      for (const [minute, counts] of [...this.#minutes]) {
        this.#minutes.delete(minute);
        const all = [...counts];
        for (let start = 0; start < all.length; start += maxCountersAtOnce) {
          const part = { writer: this.#writer, number: ++this.#parts };
          try {
            await this.#add({ minute, counts: new Map(all.slice(start, start + maxCountersAtOnce)), part });
          } catch (error) {
            this.#keep(minute, all.slice(start + maxCountersAtOnce));
            throw error;
          }
        }
      }
    } catch {
      for (const oldest of this.#minutes.keys()) {
        if (this.#minutes.size <= maxMinutes) break;
        this.#minutes.delete(oldest);
      }
    }
  }

  async #add(addition: Addition): Promise<void> {
    this.#failed = addition;
    await this.#figures.add(this.#target, addition.minute, addition.counts, addition.part);
    this.#failed = undefined;
  }

  #keep(minute: number, counts: readonly (readonly [string, number])[]): void {
    const counted = this.#minutes.get(minute) ?? new Map<string, number>();
    for (const [name, count] of counts) increase(counted, name, count);
    if (counted.size > 0) this.#minutes.set(minute, counted);
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

interface Addition {
  readonly minute: number;
  readonly counts: ReadonlyMap<string, number>;
  readonly part: FigurePart;
}

function increase(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}
