import { type MachineClock, machineClock } from "../process/machine-clock.ts";
import { type Jobs, StateError } from "../state/port.ts";
import type { Job } from "./job.ts";

// A job is read again after `freshMs`. If reading fails, the known job is used until it is `staleMs` old.
const freshMs = 1_000;
const staleMs = 5_000;
const forgottenMs = 60_000;
const leastJumpMs = 500;

interface Known {
  job: Job | undefined;
  readAtMs: number;
  /** The wall clock minus the uptime when it was read. */
  offsetMs: number;
  usedAtMs: number;
  reading: Promise<void> | undefined;
}

/** Caches the jobs whose requests a process sends: a change is seen within about a second. */
export class JobWatch {
  readonly #jobs: Pick<Jobs, "read">;
  readonly #now: () => number;
  readonly #machine: MachineClock;
  readonly #known = new Map<string, Known>();

  /** @param now milliseconds of a clock that nobody sets */
  constructor(
    jobs: Pick<Jobs, "read">,
    now: () => number = () => performance.now(),
    machine: MachineClock = machineClock,
  ) {
    this.#jobs = jobs;
    this.#now = now;
    this.#machine = machine;
  }

  /**
   * Returns undefined if there is no such job. Throws `StateError` if it cannot be read and the cached job is older
   * than five seconds.
   */
  async read(id: string): Promise<Job | undefined> {
    const known = this.#use(id);
    const ageMs = this.#now() - known.readAtMs;
    // The state moves the times of a job with the wall clock.
    const jumped = Math.abs(this.#offsetMs() - known.offsetMs) > leastJumpMs;
    if (ageMs < freshMs && ageMs >= 0 && !jumped) return known.job;
    try {
      known.reading ??= this.#refresh(id, known);
      await known.reading;
    } catch (error) {
      if (!(error instanceof StateError) || this.#now() - known.readAtMs > staleMs) throw error;
    }
    return known.job;
  }

  async #refresh(id: string, known: Known): Promise<void> {
    try {
      const offsetMs = this.#offsetMs();
      const found = await this.#jobs.read(id);
      known.offsetMs = offsetMs;
      known.job = found?.job;
      known.readAtMs = this.#now();
    } finally {
      known.reading = undefined;
    }
  }

  #offsetMs(): number {
    return this.#machine.wallMs() - this.#machine.uptimeMs();
  }

  #use(id: string): Known {
    const nowMs = this.#now();
    const known = this.#known.get(id);
    if (known) {
      known.usedAtMs = nowMs;
      return known;
    }
    for (const [other, { usedAtMs }] of this.#known) if (nowMs - usedAtMs > forgottenMs) this.#known.delete(other);
    const fresh = {
      job: undefined,
      readAtMs: Number.NEGATIVE_INFINITY,
      offsetMs: 0,
      usedAtMs: nowMs,
      reading: undefined,
    };
    this.#known.set(id, fresh);
    return fresh;
  }
}
