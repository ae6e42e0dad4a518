import type { ShownRequest } from "../pack/request-text.ts";
import type { Fate } from "../state/port.ts";

// Answers of the control API, for the functions that serve it and the command line that calls it. Rates and shares have
// the form of the configuration, times that of ISO 8601.

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
  /** Why nothing is sent now; absent if requests are sent. */
  readonly held?: string;
  readonly breaker?: {
    readonly openedAt: string;
    readonly probeAt: string;
    readonly probes: number;
    readonly reason: string;
  };
  /** Share of the rate at which requests are sent, 1/64 to 1: below 1 if the shadow asked to slow down. */
  readonly pace: number;
  /** Which requests get the target's token and signature; absent if it has neither. */
  readonly credentialsFor?: "captured" | "all";
  readonly waiting: Amount;
  readonly deadLetters: Amount;
  /** Why the queue does not answer. */
  readonly problem?: string;
  readonly enqueued: number;
  readonly fates: Readonly<Record<Fate, number>>;
}

/** The configured value of a setting, and the one in force now. */
export interface LiveSetting<T> {
  readonly configured: T;
  readonly live: T;
}

/** Packs, and the requests in them. SQS does not count requests; both are absent if the queue does not answer. */
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
  /** The minutes in which anything was counted, oldest first. */
  readonly minutes: readonly (MinuteCounts & { readonly at: string })[];
}

/** The classes of status codes, and `malformed`: answers that are not HTTP. */
export const answerClasses = ["1xx", "2xx", "3xx", "4xx", "5xx", "malformed"] as const;

/** Failed attempts and fates of requests within a period. */
export interface MinuteCounts {
  readonly answered: Readonly<Record<(typeof answerClasses)[number], number>>;
  readonly undelivered: number;
  readonly closed: number;
  readonly timedOut: number;
  readonly deadLettered: number;
  readonly expired: number;
  readonly skipped: number;
  readonly filtered: number;
  readonly sampledOut: number;
  /** Among the `4xx`: answers 401 or 403 to requests that were sent with their captured credentials. */
  readonly expiredCredentials: number;
  /** Among the answers: those to requests that were sent without the target's `token` and `sign`. */
  readonly withoutCredentials: number;
  /** From the moment a request could be sent to the end of its answer; absent if there were no answers. */
  readonly latencyMs?: Percentiles;
  /** From the moment a request was written to the headers of its answer. */
  readonly shadowMs?: Percentiles;
  /** Time that it took to open connections. */
  readonly networkMs?: Percentiles;
  /** Age of the answered requests when they were sent, since their capture. */
  readonly ageMs?: Percentiles;
}

/** In milliseconds, accurate to 5 %. */
export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** `GET /v1/queues/{queue}/dead-letters`. */
export interface DeadLettersAnswer {
  readonly queue: string;
  /** Number of all dead letters, in SQS an estimate; `letters` may have only the first of them. */
  readonly messages: number;
  readonly letters: readonly DeadLetterSummary[];
}

export interface DeadLetterSummary {
  readonly id: string;
  /** Absent if the message has no summary. */
  readonly requests?: number;
  readonly reason: string;
  /** Capture time of the first request; absent if the message has no summary. */
  readonly firstCapturedAt?: string;
  /** When it became a dead letter; if the queue moved it by itself, when its pack was sent. */
  readonly sentAt: string;
}

/** `GET /v1/queues/{queue}/dead-letters/{id}`. */
export interface DeadLetterAnswer extends DeadLetterSummary {
  readonly contents: readonly ShownRequest[];
  /** Why there are no contents. */
  readonly undecodable?: string;
}

/** `POST /v1/queues/{queue}/dead-letters/redrive` and `…/discard`. */
export interface SweepAnswer {
  /** Dead letters that were put into a queue or discarded, and the requests in them. */
  readonly messages: number;
  readonly requests: number;
  /** Dead letters that a crash left although their requests were answered or redriven: removed, not sent. */
  readonly obsolete: number;
  /** Dead letters that cannot be decoded. A redrive leaves them where they are, and `discard` removes them. */
  readonly undecodable: number;
  /** Dead letters that are newer than `startedAt` and stay where they are. */
  readonly newer: number;
  /** Dead letters that are left; in SQS an estimate. */
  readonly remaining: number;
  /** When the first call started: send it with the next call, so that requests that died again are not redriven twice. */
  readonly startedAt: string;
  /** False if the call ended before it saw all dead letters: call again. */
  readonly done: boolean;
}

/** Body of every error answer, as `application/problem+json` (RFC 9457). */
export interface ProblemAnswer {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Each mistake in the request, and its place, such as `body.rate`. */
  readonly errors?: readonly { readonly place: string; readonly detail: string }[];
}
