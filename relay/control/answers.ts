import type { ShownRequest } from "../pack/request-text.ts";
import type { Fate } from "../state/port.ts";

// What the control API answers, for the functions that serve it and the command line that asks it. Rates and shares are
// written as in the configuration, times as ISO 8601.

/** `GET /v1/targets/{target}`. */
export interface TargetAnswer {
  readonly name: string;
  readonly url: string;
  readonly rate: LiveSetting<string>;
  readonly concurrency: LiveSetting<number>;
  readonly sample: LiveSetting<string>;
  readonly paused: boolean;
  readonly window: readonly string[];
  readonly blackout: readonly string[];
  /** Why nothing is sent now; absent where requests are sent. */
  readonly held?: string;
  readonly breaker?: {
    readonly openedAt: string;
    readonly probeAt: string;
    readonly probes: number;
    readonly reason: string;
  };
  /** The share of the rate that the shadow gets while it has asked for less: 1/64 to 1. */
  readonly pace: number;
  readonly waiting: Amount;
  readonly deadLetters: Amount;
  /** Why the queue does not answer. */
  readonly problem?: string;
  readonly enqueued: number;
  readonly fates: Readonly<Record<Fate, number>>;
}

/** A setting of the configuration, and what holds now. */
export interface LiveSetting<T> {
  readonly configured: T;
  readonly live: T;
}

/** Packs, and the requests in them, which SQS does not count. Neither is there where the queue does not answer. */
export interface Amount {
  readonly messages?: number;
  readonly requests?: number;
}

/** `GET /v1/targets/{target}/figures`. */
export interface FiguresAnswer {
  readonly target: string;
  readonly from: string;
  readonly until: string;
  readonly total: MinuteCounts;
  /** Those in which anything was counted, the oldest first. */
  readonly minutes: readonly (MinuteCounts & { readonly at: string })[];
}

export const statusClasses = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

/** Tries that failed and what became of requests in a time. */
export interface MinuteCounts {
  readonly answered: Readonly<Record<(typeof statusClasses)[number], number>>;
  readonly undelivered: number;
  readonly timedOut: number;
  readonly deadLettered: number;
  readonly expired: number;
  readonly skipped: number;
  readonly filtered: number;
  readonly sampledOut: number;
  /** Of the `4xx`: 401 or 403 to requests that went out with the credentials they were captured with. */
  readonly expiredCredentials: number;
  /** Of the answers, from the moment a request could leave to the end; absent where there were none. */
  readonly latencyMs?: Percentiles;
  /** Of the answers, from the request being written to the headers of its answer. */
  readonly shadowMs?: Percentiles;
  /** Of the connections that were opened. */
  readonly networkMs?: Percentiles;
  /** From the capture of the requests that were answered to their sending. */
  readonly ageMs?: Percentiles;
}

/** In milliseconds, within 5 %. */
export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** `GET /v1/queues/{queue}/dead-letters`. */
export interface DeadLettersAnswer {
  readonly queue: string;
  /** All there are, of which `letters` may be the first ones only; in SQS an estimate. */
  readonly messages: number;
  readonly letters: readonly DeadLetterSummary[];
}

export interface DeadLetterSummary {
  readonly id: string;
  /** Absent where it does not say. */
  readonly requests?: number;
  readonly reason: string;
  /** Capture time of the first request; absent where it does not say. */
  readonly firstCapturedAt?: string;
  /** When it was put into the queue for the first time. */
  readonly sentAt: string;
}

/** `GET /v1/queues/{queue}/dead-letters/{id}`. */
export interface DeadLetterAnswer extends DeadLetterSummary {
  readonly contents: readonly ShownRequest[];
  /** Why there are no contents. */
  readonly undecodable?: string;
}

/** `POST /v1/queues/{queue}/dead-letters/redrive`. */
export interface RedriveAnswer {
  /** Dead letters that went back, and the requests in them. */
  readonly messages: number;
  readonly requests: number;
  /** Dead letters that cannot be decoded, and stay. */
  readonly undecodable: number;
  /** Dead letters that are left; in SQS an estimate. */
  readonly remaining: number;
  /** False where the call has ended before it saw all of them: ask again. */
  readonly done: boolean;
}

/** What every error is answered with, as `application/problem+json` (RFC 9457). */
export interface ProblemAnswer {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Of what was sent: each mistake and its place, such as `body.rate`. */
  readonly errors?: readonly { readonly place: string; readonly detail: string }[];
}
