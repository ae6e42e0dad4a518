import type { Fate } from "../state/port.ts";

/** The outcome of sending a request to a shadow once. */
export type Outcome =
  /** The shadow answered, with any status: done. */
  | { readonly kind: "answered"; readonly status: number; readonly times?: AnswerTimes }
  /** The shadow answered with bytes that are not HTTP: done. */
  | { readonly kind: "malformed"; readonly reason: string; readonly times?: AnswerTimes }
  /** The shadow has not acted on it, because it was not reached or asks to retry later: another attempt may succeed. */
  | {
      readonly kind: "undelivered";
      readonly reason: string;
      readonly retryAfterMs?: number;
      /** Whether the shadow itself could not be reached: refused, no address, no route, or its TLS or protocol is another. */
      readonly away?: boolean;
    }
  /** Written, but the connection ended before the answer was there: the shadow may have acted on it. */
  | { readonly kind: "closed"; readonly reason: string }
  /** Sent, but no answer in time: the shadow may have acted on it. */
  | { readonly kind: "timedOut"; readonly reason: string }
  /** Given up because the process stops. If it was sent, the shadow may have acted on it. */
  | { readonly kind: "stopped"; readonly sent: boolean; readonly reason: string }
  /** Cannot be sent as an HTTP request. */
  | { readonly kind: "unsendable"; readonly reason: string };

/** How long the parts of an exchange took, in milliseconds. */
export interface AnswerTimes {
  /** Opening the connection for this request; undefined if the connection was already open. */
  readonly connectMs?: number;
  /** From writing the request to the headers of the answer: one round trip and the shadow's processing time. */
  readonly firstByteMs: number;
  /** From giving the request to the transport to the end of the answer. */
  readonly totalMs: number;
}

// RFC 9110 9.2.2: repeating such a request has the same effect as sending it once.
const idempotentMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export function isIdempotent(method: string): boolean {
  return idempotentMethods.has(method);
}

/** Whether the shadow may have acted on the request although it did not answer. */
export function mayHaveActed(outcome: Outcome): boolean {
  const { kind } = outcome;
  return kind === "timedOut" || kind === "closed" || (kind === "stopped" && outcome.sent);
}

/** The fate in the ledger of a request that was answered with this status. */
export function answeredFate(status: number): Fate {
  // HTTP defines 100 to 599; a higher status is an error of the shadow, like 5xx.
  const classes = ["answered.1xx", "answered.2xx", "answered.3xx", "answered.4xx"] as const;
  return classes[Math.floor(status / 100) - 1] ?? "answered.5xx";
}

/** A Retry-After header (RFC 9110 10.2.3) in milliseconds from now; undefined if it cannot be parsed. */
export function parseRetryAfterMs(value: string, nowMs: number): number | undefined {
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1_000;
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}
