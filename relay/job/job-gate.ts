import { type Clock, systemClock } from "../clock.ts";
import type { PackedRequest } from "../pack/pack.ts";
import { type JobMark, offsetOf } from "../queue/job-mark.ts";
import type { Job } from "./job.ts";
import { dueAtMs, patientPauseMs, pausedDelayMs } from "./job-clock.ts";
import type { JobWatch } from "./job-watch.ts";

/** What may become of a request of a job. */
export type Passage =
  | { readonly kind: "due" }
  | { readonly kind: "cancelled" }
  /** Its time is far, or its job is paused and nobody waits: it had better come again after so long. */
  | { readonly kind: "later"; readonly delayMs: number };

type TimedRequest = Pick<PackedRequest, "capturedAtMs" | "index">;

// Who is sooner due is waited for, also where waiting costs.
const longestWaitMs = 3_000;
// How long before its time a request should be back: SQS delays by whole seconds, and a function may have to be started.
const leadMs = 2_000;
const maxDelayMs = 900_000;
// Who waits for longer looks in between whether the job has changed.
const sliceMs = 1_000;
const pausedPollMs = 200;

/** Lets the requests of one message of a job pass when they are due. */
export class JobGate {
  readonly id: string;
  readonly #mark: JobMark;
  readonly #watch: JobWatch;
  readonly #clock: Clock;
  #job: Job | undefined;

  constructor(mark: JobMark, watch: JobWatch, clock: Clock = systemClock) {
    this.id = mark.id;
    this.#mark = mark;
    this.#watch = watch;
    this.#clock = clock;
  }

  /** When the request is due, as far as is known; undefined where it has no time. In milliseconds since 1970. */
  dueAtMs(request: TimedRequest): number | undefined {
    const offsetMs = this.#job && offsetOf(this.#job.pace, this.#mark, request);
    return this.#job && offsetMs !== undefined ? dueAtMs(this.#job, offsetMs) : undefined;
  }

  /**
   * Resolves when the request is due, never before. Rejects when the signal is raised, and with `StateError` where the job
   * cannot be read.
   *
   * @param patient whether to wait while the job is paused
   */
  async pass(request: TimedRequest, signal: AbortSignal, patient: boolean): Promise<Passage> {
    if (this.#mark.baseMs === undefined) return due;
    for (;;) {
      signal.throwIfAborted();
      this.#job = await this.#watch.read(this.id);
      if (!this.#job || this.#job.status === "cancelled") return { kind: "cancelled" };
      const nowMs = this.#clock.nowUs() / 1_000;
      if (this.#job.status === "paused") {
        const sinceMs = nowMs - (this.#job.pausedAtMs ?? nowMs);
        // After a while also where waiting costs nothing: jobs that stand still must not take all places.
        if (!patient || sinceMs > patientPauseMs) return { kind: "later", delayMs: pausedDelayMs };
        await this.#clock.sleepUntil((nowMs + pausedPollMs) * 1_000, signal);
        continue;
      }
      const leftMs = (this.dueAtMs(request) ?? nowMs) - nowMs;
      if (leftMs <= 0) return due;
      if (leftMs > longestWaitMs) return { kind: "later", delayMs: Math.min(maxDelayMs, leftMs - leadMs) };
      await this.#clock.sleepUntil((nowMs + Math.min(leftMs, sliceMs)) * 1_000, signal);
    }
  }
}

const due: Passage = { kind: "due" };
