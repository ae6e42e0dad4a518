import { type Clock, systemClock } from "../clock.ts";
import type { PackedRequest } from "../pack/pack.ts";
import { type JobMark, offsetOf } from "../queue/job-mark.ts";
import type { Job } from "./job.ts";
import { dueAtMs, patientPauseMs, pausedDelayMs } from "./job-clock.ts";
import type { JobWatch } from "./job-watch.ts";

/** What to do with a request of a job. */
export type Passage =
  | { readonly kind: "due" }
  | { readonly kind: "cancelled" }
  /** It is not due soon, or its job is paused: return it to the queue with this delay. */
  | { readonly kind: "later"; readonly delayMs: number };

type TimedRequest = Pick<PackedRequest, "capturedAtMs" | "index">;

// A request that is due within this time is waited for, even in a function that is billed for waiting.
const longestWaitMs = 3_000;
// A delayed request should return this long before it is due: SQS delays by whole seconds, and a function may have to
// start.
const leadMs = 2_000;
const maxDelayMs = 900_000;
// A longer wait is interrupted after this time to read whether the job has changed.
const sliceMs = 1_000;
const pausedPollMs = 200;
// Clocks show whole microseconds: to sleep for less would end at once, without end.
const tickMs = 0.001;

/** Holds the requests of one message of a job until they are due. */
export class JobGate {
  readonly id: string;
  readonly #mark: JobMark;
  readonly #watch: JobWatch;
  readonly #clock: Clock;
  #job: Job | undefined;
  /** The clock, and a clock that nobody sets, when `pass` last looked. */
  #passed: readonly [number, number] = [0, 0];

  constructor(mark: JobMark, watch: JobWatch, clock: Clock = systemClock) {
    this.id = mark.id;
    this.#mark = mark;
    this.#watch = watch;
    this.#clock = clock;
  }

  /** How long ago the request was due; 0 if it has no due time or the job was not read yet. */
  lateMs(request: TimedRequest): number {
    const [passedAtMs, passedMs] = this.#passed;
    // Not by the wall clock, which may have been set since the job was read.
    const nowMs = passedAtMs + performance.now() - passedMs;
    return nowMs - (this.#dueAtMs(request) ?? nowMs);
  }

  #dueAtMs(request: TimedRequest): number | undefined {
    const offsetMs = this.#job && offsetOf(this.#job.pace, this.#mark, request);
    return this.#job && offsetMs !== undefined ? dueAtMs(this.#job, offsetMs) : undefined;
  }

  /**
   * Resolves when the request is due or must be returned or dropped. Rejects if the signal is aborted, and with
   * `StateError` if the job cannot be read.
   *
   * @param patient whether to wait up to 15 s while the job is paused
   */
  async pass(request: TimedRequest, signal: AbortSignal, patient: boolean): Promise<Passage> {
    if (this.#mark.baseMs === undefined) return due;
    for (;;) {
      signal.throwIfAborted();
      this.#job = await this.#watch.read(this.id);
      if (!this.#job || this.#job.status === "cancelled") return { kind: "cancelled" };
      const nowMs = this.#clock.nowUs() / 1_000;
      this.#passed = [nowMs, performance.now()];
      if (this.#job.status === "paused") {
        const sinceMs = nowMs - (this.#job.pausedAtMs ?? nowMs);
        // Even a patient caller waits only for a limited time: otherwise paused jobs would occupy all workers.
        if (!patient || sinceMs > patientPauseMs) return { kind: "later", delayMs: pausedDelayMs };
        await this.#clock.sleepUntil((nowMs + pausedPollMs) * 1_000, signal);
        continue;
      }
      const leftMs = (this.#dueAtMs(request) ?? nowMs) - nowMs;
      if (leftMs < tickMs) return due;
      if (leftMs > longestWaitMs) return { kind: "later", delayMs: Math.min(maxDelayMs, leftMs - leadMs) };
      await this.#clock.sleepUntil((nowMs + Math.min(leftMs, sliceMs)) * 1_000, signal);
    }
  }
}

const due: Passage = { kind: "due" };
