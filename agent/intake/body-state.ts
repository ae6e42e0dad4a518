import type { BodyState } from "../../relay/pack/captured-request.ts";

/** What a message says about the body of its request. Mutable, because one object is reused for all requests. */
export interface BodyFacts {
  /** The body argument: not sent, sent without a value, or sent. HAProxy sends no value if its fetch failed. */
  argument: "missing" | "null" | "bytes";
  /** The argument `whole`, HAProxy's `internal.htx.has_eom`; undefined if it was not sent or is not a boolean. */
  whole: boolean | undefined;
  bodyBytes: number;
  /**
   * The larger of `body_len` and `body_size`; -1 if none was sent. HAProxy 3.4 and newer give a `req.body_size` of 0 for
   * every HTTP/2 body without Content-Length, older versions the bytes that have arrived so far.
   */
  measuredBytes: number;
  /** The largest valid Content-Length; -1 without one. */
  contentLength: number;
  /** True with a Transfer-Encoding, which overrides Content-Length (RFC 9112 6.3). */
  transferEncoding: boolean;
  /** True for HTTP/1.0 and 1.1 with known headers: a body needs a Content-Length or a Transfer-Encoding. */
  http1: boolean;
  /** True if the request filled HAProxy's buffer, see haproxy-buffer.ts. */
  fillsBuffer: boolean;
}

/**
 * Whether the captured body is the whole body that the client sent. The first row that applies decides:
 *
 * | body argument | `whole` | lengths | buffer | |
 * |---|---|---|---|---|
 * | missing | | | | omitted |
 * | sent | false | | | truncated |
 * | sent | | one of them is larger than the body | | truncated |
 * | NULL | | none, and HTTP allows a body: HTTP/2, or with Transfer-Encoding | | omitted |
 * | sent | true | | | complete |
 * | sent | unknown | the body has the bytes of Content-Length | | complete |
 * | empty | unknown | none, and HTTP/1 without Transfer-Encoding has no body | | complete |
 * | sent | unknown | HAProxy measured 0 bytes, and there are some | | truncated |
 * | sent | unknown | | full | truncated |
 * | sent | unknown | | has room | complete |
 *
 * Content-Length beside Transfer-Encoding is no length. `whole` says what HAProxy has received, not what it sends: beside
 * `body=req.body,bytes(0,1000)` only `body_len=req.body_len` shows the rest. Without `whole`, the last row is a guess: an
 * upload that its client broke off looks complete.
 */
export function bodyStateOf(facts: BodyFacts): BodyState {
  const { argument, whole, bodyBytes, measuredBytes, transferEncoding, http1 } = facts;
  const declaredBytes = transferEncoding ? -1 : facts.contentLength;
  if (argument === "missing") return "omitted";
  if (whole === false) return "truncated";
  if (bodyBytes < measuredBytes || bodyBytes < declaredBytes) return "truncated";
  const bodiless = declaredBytes === 0 || (declaredBytes < 0 && http1 && !transferEncoding);
  if (argument === "null" && !bodiless) return "omitted";
  if (whole || bodyBytes === declaredBytes || (bodyBytes === 0 && bodiless)) return "complete";
  const unmeasured = measuredBytes === 0 && bodyBytes > 0;
  return unmeasured || facts.fillsBuffer ? "truncated" : "complete";
}
