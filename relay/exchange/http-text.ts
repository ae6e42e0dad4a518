import { type BodyState, type CapturedRequest, headerOf } from "../pack/captured-request.ts";
import { isBodyIncomplete } from "../replay/outbound.ts";
import { toOriginForm } from "./imported.ts";

/** The parts of a request that an HTTP/1 message contains. */
export interface HttpText {
  readonly method: string;
  readonly path: string;
  readonly version: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  readonly bodyState: BodyState;
}

// RFC 9110 5.6.2 and 5.5, and RFC 9112 3.2. The target is not checked against the URI grammar: clients send any byte.
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const requestTarget = /^[\x21-\xff]+$/;
const brokenValue = /[\0\r\n]/;
const followed = "more bytes follow after the end of the body";
const noRequestLine = "the first line is not an HTTP/1 request line";
const requestLine = /^([^ ]+) ([^ ]+) HTTP\/(\d(?:\.\d)?)$/;

/** The reason why a request cannot be written as HTTP/1 text; undefined if it can. */
export function findTextFlaw({
  method,
  path,
  headers,
}: Pick<CapturedRequest, "method" | "path" | "headers">): string | undefined {
  if (!token.test(method)) return "the method has a character that HTTP does not allow";
  if (!requestTarget.test(path)) return "the path is empty or contains a space or a control character";
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (!token.test(headers[i])) return "a header name has a character that HTTP does not allow";
    if (brokenValue.test(headers[i + 1])) return "a header value contains a line break or a zero byte";
  }
  return undefined;
}

/** Header lines. Space around a value does not belong to it (RFC 9110 5.5). */
export function formatHeaderLines(headers: readonly string[]): string[] {
  return headers.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${trim(headers[i + 1])}`] : []));
}

/**
 * Writes a request as HTTP/1 text. A chunked body becomes one chunk, without the final empty chunk if the body is
 * incomplete. Adds a Content-Length to a body without a length (HTTP/2); without one no reader would find the body.
 */
export function formatHttpText(request: CapturedRequest): Buffer {
  const { method, path, version, headers, body } = request;
  const lines = [`${method} ${toOriginForm(path)} HTTP/${version === "1.0" ? "1.0" : "1.1"}`];
  const whole = !isBodyIncomplete(request);
  // The captured length is wrong for a body that was redacted after the capture.
  const isLength = (i: number) => whole && i % 2 === 1 && headers[i - 1].toLowerCase() === "content-length";
  for (const line of formatHeaderLines(headers.map((part, i) => (isLength(i) ? String(body.length) : part))))
    lines.push(line);
  const chunked = isChunked(headers);
  if (!chunked && body.length > 0 && headerOf(headers, "content-length") === undefined) {
    lines.push(`Content-Length: ${body.length}`);
  }
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  if (!chunked) return Buffer.concat([head, body]);
  const end = Buffer.from(whole ? "0\r\n\r\n" : "");
  if (body.length === 0) return Buffer.concat([head, end]);
  return Buffer.concat([head, Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n"), end]);
}

/** Parses HTTP/1 text into a request, or returns the reason why it is not one. Lines may end with LF alone. */
export function parseHttpText(text: Buffer): HttpText | string {
  const bytes = text.subarray(leadingLineEnds(text));
  const head = findHead(bytes);
  if (!head) return "no empty line ends the headers";
  const [first, ...lines] = bytes.toString("latin1", 0, head.end).split(/\r?\n/);
  const match = requestLine.exec(first);
  if (!match) return noRequestLine;
  const [, method, target, number] = match;
  const path = toOriginForm(target);
  if (!token.test(method) || !requestTarget.test(path)) return noRequestLine;
  const headers = parseHeaderLines(lines);
  if (!headers) return "a header line has no valid name";
  const body = readBody(headers, bytes.subarray(head.bodyAt));
  return typeof body === "string" ? body : { method, path, version: number, headers, ...body };
}

/** The head of a response, as far as it is valid. */
export interface AnswerHead {
  /** Undefined if the status line is damaged. */
  readonly status?: number;
  /** Undefined if a header is damaged. */
  readonly headers?: readonly string[];
  /** Whether its body has the stated length, or is absent. */
  readonly whole: boolean;
}

// Each step looks through the rest: a hostile file could have millions of them in one record.
const maxInterim = 16;

/** Parses the head of a response. Skips interim answers (RFC 9110 15.2) before it: the status is one only if they are all. */
export function parseAnswerHead(text: Buffer): AnswerHead {
  let bytes = text.subarray(leadingLineEnds(text));
  let head = findHead(bytes);
  let status = statusOf(bytes);
  for (let skipped = 0; head && isInterim(status) && skipped < maxInterim; skipped++) {
    const rest = bytes.subarray(head.bodyAt);
    if (isBlank(rest)) break;
    bytes = rest.subarray(leadingLineEnds(rest));
    head = findHead(bytes);
    status = statusOf(bytes);
  }
  if (status === undefined) return { whole: false };
  const lines = head ? bytes.toString("latin1", 0, head.end).split(/\r?\n/) : [];
  const headers = parseHeaderLines(lines.slice(1));
  const length = head && headers && !isChunked(headers) ? headerOf(headers, "content-length") : undefined;
  const rest = bytes.subarray(head?.bodyAt ?? bytes.length);
  const whole = length === undefined || rest.length === Number(length) || isBlank(rest);
  return { status, ...(headers && { headers }), whole };
}

/** Whether another answer follows one with this status. None follows 101. */
export function isInterim(status: number | undefined): boolean {
  return status !== undefined && status >= 100 && status < 200 && status !== 101;
}

function statusOf(bytes: Buffer): number | undefined {
  const line = /^HTTP\/\d(?:\.\d)? (\d{3})(?:[ \r\n]|$)/.exec(bytes.toString("latin1", 0, 64));
  return line ? Number(line[1]) : undefined;
}

/** RFC 9112 2.2: clients may send empty lines before a request. */
function leadingLineEnds(bytes: Buffer): number {
  let at = 0;
  while (bytes[at] === 0x0d || bytes[at] === 0x0a) at++;
  return at;
}

/** Returns name, value, name, value, … or undefined if a line is not a header. */
function parseHeaderLines(lines: readonly string[]): string[] | undefined {
  const headers: string[] = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    // RFC 9112 5.2: a line that begins with a space continues the line before it.
    if (/^[ \t]/.test(line) && headers.length > 0) headers.push(joinFolded(`${headers.pop()}`, trim(line)));
    else if (!token.test(line.slice(0, Math.max(colon, 0)))) return undefined;
    else headers.push(line.slice(0, colon), trim(line.slice(colon + 1)));
  }
  return headers;
}

/** Space around a value does not belong to it, also if the lines before or after it are empty. */
function joinFolded(before: string, folded: string): string {
  return before === "" || folded === "" ? before + folded : `${before} ${folded}`;
}

/** Whether the last transfer coding is chunked. */
export function isChunked(headers: readonly string[]): boolean {
  return /(?:^|[\s,])chunked\s*$/i.test(headerOf(headers, "transfer-encoding") ?? "");
}

/** Finds the end of the last header line and the start of the body. */
function findHead(bytes: Buffer): { readonly end: number; readonly bodyAt: number } | undefined {
  const withReturn = bytes.indexOf("\n\r\n");
  const without = bytes.subarray(0, withReturn < 0 ? bytes.length : withReturn).indexOf("\n\n");
  const lineEnd = without < 0 ? withReturn : without;
  if (lineEnd < 0) return undefined;
  const end = bytes[lineEnd - 1] === 0x0d ? lineEnd - 1 : lineEnd;
  return { end, bodyAt: lineEnd + (without < 0 ? 3 : 2) };
}

function readBody(headers: readonly string[], rest: Buffer): Pick<HttpText, "body" | "bodyState"> | string {
  if (isChunked(headers)) return readChunks(rest);
  const length = headerOf(headers, "content-length");
  if (length === undefined) {
    if (!isBlank(rest)) return "bytes follow the headers, but the request has neither a Content-Length nor chunks";
    return { body: new Uint8Array(), bodyState: "complete" };
  }
  if (!/^\d{1,15}$/.test(length)) return "the Content-Length is not a number";
  // GoReplay sometimes omits the separator between two requests: report it, or the second request would be lost
  // silently.
  if (!isBlank(rest.subarray(Number(length)))) return followed;
  const body = Uint8Array.from(rest.subarray(0, Number(length)));
  if (body.length === Number(length)) return { body, bodyState: "complete" };
  return { body, bodyState: body.length === 0 ? "omitted" : "truncated" };
}

/** Reads a chunked body (RFC 9112 7.1). Drops trailers: a captured request has no field for them. */
function readChunks(rest: Buffer): Pick<HttpText, "body" | "bodyState"> | string {
  const chunks: Buffer[] = [];
  let at = 0;
  let complete = false;
  while (!complete) {
    const lineEnd = rest.indexOf("\n", at);
    const size = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?\r?$/.exec(rest.toString("latin1", at, Math.max(lineEnd, at)));
    if (lineEnd < 0 || !size) break;
    const bytes = Number.parseInt(size[1], 16);
    const chunk = rest.subarray(lineEnd + 1, lineEnd + 1 + bytes);
    chunks.push(chunk);
    if (chunk.length < bytes) break;
    complete = bytes === 0;
    at = lineEnd + 1 + bytes;
    if (rest[at] === 0x0d) at++;
    if (rest[at] === 0x0a) at++;
  }
  const lines = complete ? rest.toString("latin1", at).trim() : "";
  if (lines !== "" && !parseHeaderLines(lines.split(/\r?\n/))) return followed;
  const body = Uint8Array.from(Buffer.concat(chunks));
  return { body, bodyState: complete ? "complete" : body.length === 0 ? "omitted" : "truncated" };
}

/** Hand-made files may end with line breaks. */
function isBlank(rest: Buffer): boolean {
  return rest.toString("latin1").trim() === "";
}

// Not a regular expression: at each space within the value, it would look for the end of the value again.
function trim(value: string): string {
  let [start, end] = [0, value.length];
  while (start < end && isSpace(value.charCodeAt(start))) start++;
  while (start < end && isSpace(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
