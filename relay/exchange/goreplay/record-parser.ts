import { headerOf } from "../../pack/captured-request.ts";
import { type HttpText, isChunked, isInterim, parseAnswerHead, parseHttpText } from "../http-text.ts";
import { hostOf, maxCapturedAtMs, type Parsed } from "../imported.ts";
import { findObstacle } from "../repeatable.ts";
import type { AnswerRecord } from "./answer-book.ts";

/** Follows each record of a GoReplay file, with a line end after it. */
export const goreplayMark = Buffer.from("\n🐵🙈🙉");

/** The first line of a record: kind, id, time in nanoseconds and, for responses, the latency in nanoseconds. */
export const goreplayHeader = /^([123]) (\S{1,256}) (\d{1,25})(?: (-?\d{1,25}))?[ \t]*\r?$/;

/**
 * Before a record within another one: GoReplay was stopped, and later continued the file. This counts only within a damaged
 * record, because the body of a whole one can contain any line.
 */
export const unseparated =
  /\n(?=[123] \S{1,256} \d{16,20}(?: -?\d{1,25})?[ \t]*\r?\n(?:[A-Z]{1,20} \S+ HTTP\/\d|HTTP\/\d))/;

/** The bytes of a record. */
export interface RecordBytes {
  readonly bytes: Buffer;
  /** Whether a separator follows it. */
  readonly closed: boolean;
  /** Whether that separator ends with CR LF: a tool may have converted the line ends of the file. */
  readonly crlf: boolean;
}

export type GoreplayRecord =
  | {
      readonly kind: "request";
      readonly id: string;
      readonly parsed: Parsed;
      /** Whether nothing of it is missing, and nothing follows it. */
      readonly whole: boolean;
      /** How many bytes of its body are missing, if it has a Content-Length. */
      readonly missingBytes?: number;
    }
  | { readonly kind: "answer"; readonly answer: AnswerRecord; readonly whole: boolean }
  /** Without a first line. */
  | { readonly kind: "broken"; readonly reason: string }
  /** A replayed response, an interim answer (1xx), or the line break at the end of a hand-made file. */
  | { readonly kind: "ignored" };

const cutOff = "the record is cut off";

/** Parses a record of a GoReplay file. Never throws. */
export function parseRecord({ bytes, closed, crlf }: RecordBytes): GoreplayRecord {
  if (!closed && isBlank(bytes)) return { kind: "ignored" };
  const lineEnd = bytes.indexOf("\n");
  const firstLine = bytes.toString("latin1", 0, Math.min(lineEnd < 0 ? bytes.length : lineEnd, 1024));
  const match = goreplayHeader.exec(firstLine);
  if (!match) return { kind: "broken", reason: "the record does not begin with kind, id and time" };
  const [, kind, id, nanoseconds, latency] = match;
  if (kind === "3") return { kind: "ignored" };
  const atMs = toMs(nanoseconds);
  const payload = lineEnd < 0 ? Buffer.alloc(0) : bytes.subarray(lineEnd + 1);
  if (kind === "2") {
    const latencyMs = /^0*[1-9]/.test(latency ?? "") ? toMs(latency) : undefined;
    const { whole, ...head } = parseAnswerHead(payload);
    if (isInterim(head.status)) return { kind: "ignored" };
    return { kind: "answer", answer: { id, atMs, latencyMs, ...head }, whole };
  }
  const text = parsePayload(payload, crlf);
  const whole = typeof text !== "string" && text.bodyState === "complete";
  const parsed = toRequest(text, id, atMs, { bytes: payload, closed, crlf });
  const length =
    typeof text === "string" || isChunked(text.headers) ? undefined : headerOf(text.headers, "content-length");
  if (whole || typeof text === "string" || length === undefined) return { kind: "request", id, parsed, whole };
  return { kind: "request", id, parsed, whole, missingBytes: Number(length) - text.body.length };
}

function toRequest(text: HttpText | string, id: string, capturedAtMs: number, payload: RecordBytes): Parsed {
  // GoReplay 1.2 writes such records (issue 851).
  if (payload.closed && isBlank(payload.bytes)) return { reason: "an empty record", host: "" };
  if (payload.bytes.toString("latin1", 0, 14) === "PRI * HTTP/2.0")
    return { reason: "the preface of HTTP/2", host: "" };
  if (capturedAtMs > maxCapturedAtMs) return "the time of the record is out of range";
  if (typeof text === "string") return payload.closed ? text : cutOff;
  const obstacle = findObstacle(text);
  if (obstacle !== undefined) return { reason: obstacle, host: hostOf(text) };
  // GoReplay was stopped while it wrote this record.
  if (!payload.closed && text.bodyState !== "complete") return cutOff;
  return { id, capturedAtMs, src: "", ...text };
}

/** If the line ends of the file were converted, those in the body may not have been CR LF. */
function parsePayload(payload: Buffer, crlf: boolean): HttpText | string {
  const text = parseHttpText(payload);
  if (!crlf || (typeof text !== "string" && text.bodyState === "complete")) return text;
  const converted = parseHttpText(Buffer.from(payload.toString("latin1").replaceAll("\r\n", "\n"), "latin1"));
  return typeof converted !== "string" && converted.bodyState === "complete" ? converted : text;
}

/** Cuts digits off the text: nanoseconds since 1970 exceed the integers that a number holds exactly. */
function toMs(nanoseconds: string): number {
  return Number(nanoseconds.slice(0, -6) || "0");
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}
