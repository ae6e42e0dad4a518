import type { Clock } from "../../relay/clock.ts";
import { Semaphore } from "../../relay/concurrency/semaphore.ts";
import { Pacer } from "../../relay/replay/pacer.ts";
import { ManualClock } from "../support/clocks/manual-clock.ts";
import { SimulatedRounds } from "./simulated-rounds.ts";

export interface CrewOptions {
  readonly ratePerSecond: number;
  /** Requests in flight of each worker. */
  readonly concurrency: number;
  /** The time to the answer of the next request. */
  readonly latencyUs: () => number;
  /** To the store. */
  readonly roundTripUs: number;
  /** 0 to 1. */
  readonly random: () => number;
}

export interface Send {
  readonly worker: number;
  /** By the true time, not by the worker's clock. */
  readonly atUs: number;
}

/** A clock that is ahead of the true time, and whose sleepers wake only when it is not frozen. */
class WorkerClock implements Clock {
  frozenUntilUs = 0;
  readonly #clock: Clock;
  readonly #aheadUs: number;

  constructor(clock: Clock, aheadUs: number) {
    this.#clock = clock;
    this.#aheadUs = aheadUs;
  }

  nowUs(): number {
    return this.#clock.nowUs() + this.#aheadUs;
  }

  async sleepUntil(atUs: number, signal?: AbortSignal): Promise<void> {
    await this.#clock.sleepUntil(atUs - this.#aheadUs, signal);
    while (this.#clock.nowUs() < this.frozenUntilUs) await this.#clock.sleepUntil(this.frozenUntilUs, signal);
  }
}

/**
 * Workers that send to one target as fast as they may: the pacer and the permits of the product, on a simulated clock and
 * store. Requests never run out.
 */
export class SimulatedCrew {
  readonly clock = new ManualClock(1_790_000_000_000_000);
  readonly startUs = this.clock.nowUs();
  readonly rounds: SimulatedRounds;
  readonly sends: Send[] = [];
  /** The sum of the latencies of all requests that were sent. */
  latenciesUs = 0;
  ratePerSecond: number;
  readonly #options: CrewOptions;
  readonly #workers: { readonly clock: WorkerClock; readonly stop: AbortController }[] = [];

  constructor(options: CrewOptions) {
    this.#options = options;
    this.ratePerSecond = options.ratePerSecond;
    this.rounds = new SimulatedRounds(this.clock, options.roundTripUs);
  }

  /** Starts a worker at `atUs`; returns its number. */
  add(clockAheadUs = 0, atUs = this.clock.nowUs()): number {
    const number = this.#workers.length;
    const worker = { clock: new WorkerClock(this.clock, clockAheadUs), stop: new AbortController() };
    this.#workers.push(worker);
    const { signal } = worker.stop;
    this.#work(number, worker.clock, atUs, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
    return number;
  }

  /** Stops a worker as at the end of its work: its seats stay empty. */
  stop(worker: number): void {
    this.#workers[worker].stop.abort();
  }

  freeze(worker: number, untilUs: number): void {
    this.#workers[worker].clock.frozenUntilUs = untilUs;
  }

  /** Stops all workers. */
  end(): void {
    for (const { stop } of this.#workers) stop.abort();
  }

  async #work(number: number, clock: WorkerClock, atUs: number, signal: AbortSignal): Promise<void> {
    const { concurrency, latencyUs, random } = this.#options;
    const crew = this;
    const rate = {
      get ratePerSecond() {
        return crew.ratePerSecond;
      },
      refresh: async () => {},
    };
    const pacer = new Pacer("staging", rate, this.rounds.of(clock), clock, random);
    const permits = new Semaphore(concurrency);
    await this.clock.sleepUntil(atUs);
    for (;;) {
      await permits.acquire(signal);
      try {
        await pacer.acquire(signal, permits);
      } catch {
        // The store is away: tried again like a pack that was handed back.
        signal.throwIfAborted();
        permits.release();
        await clock.sleepUntil(clock.nowUs() + 500_000, signal);
        continue;
      }
      this.sends.push({ worker: number, atUs: this.clock.nowUs() });
      const answeredUs = latencyUs();
      this.latenciesUs += answeredUs;
      // A frozen worker notices the answer when it thaws.
      void clock.sleepUntil(clock.nowUs() + answeredUs).then(() => permits.release());
    }
  }
}

/**
 * The most sends above rate * W in any window W: the bound allows rate * (2ε + J) + 1. Sums the sends minus the allowance up to
 * each send, and compares with the smallest sum before it.
 */
export function mostAbove(sends: readonly Send[], ratePerSecond: number): number {
  const timesUs = sends.map(({ atUs }) => atUs).sort((a, b) => a - b);
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const [i, timeUs] of timesUs.entries()) {
    const before = i - (ratePerSecond * (timeUs - timesUs[0])) / 1e6;
    least = Math.min(least, before);
    most = Math.max(most, before + 1 - least);
  }
  return most;
}
