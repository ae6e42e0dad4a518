import type { Outcome } from "./outcome.ts";

/** What is known about a request that ended with an error and without the head of an answer. */
export interface Circumstances {
  /** Whether the request, or a part of it, was written to the connection. */
  readonly written: boolean;
  /** Whether bytes of an answer were read. */
  readonly answering: boolean;
  /** Whether the connection could not be opened. */
  readonly connecting: boolean;
  /** Whether the shadow is not known to speak the protocol that is set. */
  readonly unproven: boolean;
}

/** The fields that errors of Node, OpenSSL, nghttp2 and undici have. */
type NetworkError = Error & { readonly code?: string; readonly data?: unknown; readonly http2ErrorCode?: number };

/** Decides by what the connection did. Its reasons are the same each time, because dead letters are grouped by them. */
export function toOutcome(error: NetworkError, circumstances: Circumstances): Outcome {
  if (error.code === "UND_ERR_INVALID_ARG" || error.code === "UND_ERR_NOT_SUPPORTED") {
    return { kind: "unsendable", reason: describe(error) };
  }
  const { written, answering, connecting, unproven } = circumstances;
  const setting = findWrongSetting(error, unproven);
  if (setting !== undefined) return { kind: "undelivered", reason: setting, away: true };
  if (!written || wasNeverSent(error)) return { kind: "undelivered", reason: describe(error), away: connecting };
  const status = error.code === "UND_ERR_SOCKET" ? refusedAnswers.get(error.message) : undefined;
  if (status !== undefined) return { kind: "answered", status };
  if (wasRefused(error)) return { kind: "undelivered", reason: describeRefusal(error), away: false };
  const flaw = answering ? findFlaw(error) : undefined;
  if (flaw !== undefined) return { kind: "malformed", reason: `the answer is not HTTP: ${flaw}` };
  return {
    kind: "closed",
    reason: `${describeEnd(error)} ${answering ? "within the head of its answer" : "without an answer"}`,
  };
}

// undici reports these statuses as errors of the shadow and closes the connection. They count as answers.
const refusedAnswers: ReadonlyMap<string, number> = new Map([
  ["bad response", 100],
  ["bad upgrade", 101],
]);

// RFC 9113 7.
const refusedStream = 7;
const http11Required = 13;

/**
 * Whether the shadow states that it has not looked at the request (RFC 9113 8.7): a stream that it refused, or one behind the
 * last one of its GOAWAY. undici has already tried it once again.
 */
function wasRefused({ code, message, http2ErrorCode }: NetworkError): boolean {
  if (code === "ERR_HTTP2_STREAM_ERROR") return http2ErrorCode === refusedStream || http2ErrorCode === http11Required;
  return message.startsWith('HTTP/2: "GOAWAY" frame received');
}

/** Whether the HTTP/2 session had ended before the request, so that nothing was sent. undici keeps using such a session. */
function wasNeverSent({ code }: NetworkError): boolean {
  return code === "ERR_HTTP2_GOAWAY_SESSION" || code === "ERR_HTTP2_INVALID_SESSION";
}

function describeRefusal(error: NetworkError): string {
  if (error.http2ErrorCode !== http11Required) return describe(error);
  return "the shadow asks for HTTP/1.1 (HTTP_1_1_REQUIRED): set its protocol to http1";
}

/** Why the answer cannot be read; undefined if the error says nothing about the answer. */
function findFlaw({ name, code, message }: NetworkError): string | undefined {
  // llhttp's reason is in brackets.
  if (name === "HTTPParserError") return /\((.*)\)$/.exec(message)?.[1] ?? message;
  if (code === "UND_ERR_HEADERS_OVERFLOW") return "its headers are too large";
  if (code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH") return "its length contradicts its Content-Length";
  // undici asserts that the status has three digits and does not begin with 0, and that 101 comes with an upgrade.
  return code === "ERR_ASSERTION" ? "its status is below 100, or 101 without an upgrade" : undefined;
}

/**
 * The setting of the target that does not fit to the shadow, if the error shows it. Nothing was acted on: the two sides do not
 * speak the same protocol.
 */
function findWrongSetting({ name, code, data }: NetworkError, unproven: boolean): string | undefined {
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") {
    return "the shadow does not speak TLS: its url should begin with http:";
  }
  if (name === "HTTPParserError" && typeof data === "string") {
    if (tlsAlert.test(data)) return "the shadow speaks TLS: its url should begin with https:";
    if (http2Settings.test(data)) {
      return "the shadow speaks HTTP/2 only: set its protocol to h2c, or to h2 if its url begins with https:";
    }
  }
  return code === "ERR_HTTP2_ERROR" && unproven
    ? "the shadow does not speak HTTP/2: set its protocol to http1"
    : undefined;
}

// RFC 8446 5.1 and 6: the type, the version 3.x, a length of 2, then the level. Byte 4 of the length is a 2.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes of a TLS record.
const tlsAlert = /^\x15\x03[\0-\x04]\0\x02[\x01\x02]/;
// RFC 9113 4.1 and 6.5: three bytes of length, the type 4, the flags, and stream 0.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes of a frame.
const http2Settings = /^\0..\x04[\0\x01]\0\0\0\0/s;

/** What the connection did, for a reason in a sentence. */
function describeEnd(error: NetworkError): string {
  const { code, http2ErrorCode } = error;
  if (code === "ECONNRESET" || code === "EPIPE") return `the shadow reset the connection (${code})`;
  if (code === "UND_ERR_SOCKET") return "the shadow closed the connection";
  if (code === "ERR_HTTP2_STREAM_ERROR" || code === "UND_ERR_INFO") {
    return `the shadow ended the stream${http2ErrorCode === undefined ? "" : ` (HTTP/2 error ${http2ErrorCode})`}`;
  }
  return `the connection ended (${describe(error)})`;
}

function describe({ code, message: text, name }: NetworkError): string {
  const message = toMeaning(text);
  const reason = code !== undefined && !message.includes(code) ? `${code}: ${message}` : message;
  return reason || name;
}

// OpenSSL puts an address, a number and a source file around the message. They are removed, because they differ each time.
// The port of a connection that was reset while it was opened is the shadow's, and stays.
function toMeaning(message: string): string {
  const openssl = /[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:\n]+)/.exec(message);
  return openssl ? openssl[1] : message.split("\n", 1)[0];
}
