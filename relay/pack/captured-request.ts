/** How much of the body HAProxy sent: its buffer may be smaller than the body. */
export type BodyState = "complete" | "truncated" | "omitted";

/** The primary's response, if HAProxy sent the message on the response. Absent fields were not sent. */
export interface PrimaryOutcome {
  readonly status?: number;
  readonly timeMs?: number;
  readonly bytes?: number;
  readonly digest?: string;
  /** Name, value, name, value, …; undefined if the response headers were not sent. */
  readonly headers?: readonly string[];
}

/**
 * A request as HAProxy received it. Strings have one character per byte (latin1), because paths and header values may
 * not be UTF-8 and every byte must be kept.
 */
export interface CapturedRequest {
  /** Sent as X-Mirror-Id: HAProxy's unique-id, else pack id and index. The same in every retry. */
  readonly id: string;
  /** Index in the agent's pack; kept when only a part of the pack is sent on. */
  readonly index: number;
  readonly capturedAtMs: number;
  readonly method: string;
  /** Path and query, as in an origin-form request line. */
  readonly path: string;
  /** HTTP version as HAProxy names it: `1.1`, `2.0`; empty if it was not sent. */
  readonly version: string;
  /** The client's address; empty if it was not sent. */
  readonly src: string;
  /** Name, value, name, value, … in HAProxy's order and case. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  readonly bodyState: BodyState;
  readonly primary?: PrimaryOutcome;
}

/** The first value of a header, by lower-case name. */
export function headerOf(headers: readonly string[], lowerCaseName: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i];
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) return headers[i + 1];
  }
  return undefined;
}

/** The value of a cookie in the Cookie headers; HTTP/2 clients may send several of them. */
export function cookieOf(headers: readonly string[], cookieName: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i].toLowerCase() !== "cookie") continue;
    for (const pair of headers[i + 1].split(";")) {
      const equals = pair.indexOf("=");
      if (equals > 0 && pair.slice(0, equals).trim() === cookieName) return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}
