import type { Fate } from "../state/port.ts";

/** What came of sending a request to a shadow once. */
export type Outcome =
  /** The shadow answered, whatever it said: done. */
  | { readonly kind: "answered"; readonly status: number; readonly times?: AnswerTimes }
  /** Refused, reset before an answer, not resolved, or told to come later: worth another try. */
  | { readonly kind: "undelivered"; readonly reason: string; readonly retryAfterMs?: number }
  /** Sent, but no answer in time: the shadow may have acted on it. */
  | { readonly kind: "timedOut"; readonly reason: string }
  /** Given up because the process ends. Where it was sent, the shadow may have acted on it. */
  | { readonly kind: "stopped"; readonly sent: boolean; readonly reason: string }
  /** No HTTP request can be made of it. */
  | { readonly kind: "unsendable"; readonly reason: string };

/** Where the time went until an answer, in milliseconds. */
export interface AnswerTimes {
  /** Until the connection was open that the request was sent over; undefined where it was open before. */
  readonly connectMs?: number;
  /** From the moment the request was written to the headers of the answer: a way there and back, and the shadow's time. */
  readonly firstByteMs: number;
  /** From the moment the request was given to the transport to the end of the answer. */
  readonly totalMs: number;
}

// RFC 9110 9.2.2: repeating them has no effect beyond that of the first.
const idempotentMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export function isIdempotent(method: string): boolean {
  return idempotentMethods.has(method);
}

/** Whether the shadow may have done what the request asks for, although there is no answer. */
export function mayHaveActed(outcome: Outcome): boolean {
  return outcome.kind === "timedOut" || (outcome.kind === "stopped" && outcome.sent);
}

/** What the ledger calls a request that was answered with this status. */
export function answeredFate(status: number): Fate {
  // 100 to 599 are all that HTTP defines; what lies above is an error of the shadow, like 5xx.
  const classes = ["answered.1xx", "answered.2xx", "answered.3xx", "answered.4xx"] as const;
  return classes[Math.floor(status / 100) - 1] ?? "answered.5xx";
}

/** A Retry-After header (RFC 9110 10.2.3) in milliseconds from now; undefined where it says nothing. */
export function parseRetryAfterMs(value: string, nowMs: number): number | undefined {
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1_000;
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}
