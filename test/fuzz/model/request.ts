import { ByteText } from "./byte-text.ts";
import type { Argument } from "./messages.ts";

/** A request as HAProxy described it, before anything is redacted. Texts have one character per byte. */
export interface ModelRequest {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  /** Whether the URL ends with its host: `OPTIONS http://host` asks for `*`. */
  readonly isHostOnly: boolean;
  readonly version: string;
  readonly src: string;
  readonly srcIsAddress: boolean;
  readonly headers: readonly string[];
  readonly body: string;
  /** Undefined if it depends on whether the request filled HAProxy's buffer, and it may have or not. */
  readonly bodyState: "complete" | "truncated" | "omitted" | undefined;
  readonly contentLength: number;
  readonly transferEncoding: boolean;
  readonly outcome: ModelOutcome | undefined;
}

export interface ModelOutcome {
  /** -1 if it was not sent; so are the next two. */
  readonly status: number;
  readonly timeMs: number;
  readonly bytes: number;
  readonly digest: string;
  readonly headers: readonly string[] | undefined;
}

/** A message that is no request, and why. */
export interface Unusable {
  readonly unusable: "no method" | "no path" | "malformed headers" | "malformed message";
}

/** The headers that a NOTIFY may still have, of requests and of answers: SECURITY.md, 32,767 each. */
export interface HeaderAllowance {
  request: number;
  answer: number;
}

const noValue: Argument = { name: "", type: "null", text: "", number: 0 };

/** The request that the arguments of a message describe. */
export function toRequest(
  sent: readonly Argument[],
  peerFrameBytes: number,
  allowance: HeaderAllowance,
): ModelRequest | Unusable {
  // HAProxy sends NULL for what it does not have. Of an argument that is there twice, the last counts.
  const all = (...names: string[]) => sent.filter(({ name, type }) => names.includes(name) && type !== "null");
  const last = (...names: string[]) => all(...names).at(-1) ?? noValue;
  const method = last("method", "arg_method").text;
  const { path, isHostOnly } = pathOf(
    last("pathq", "uri", "url").text,
    last("path", "arg_path").text,
    last("query").text,
  );
  if (method === "") return { unusable: "no method" };
  if (path === "" && method !== "CONNECT" && method !== "OPTIONS") return { unusable: "no path" };
  const headers = readHeaders(last("hdrs", "headers", "arg_hdrs"));
  if (!headers) return { unusable: "malformed headers" };
  allowance.request -= headers.length / 2;
  const [status, timeMs, bytes] = [last("status"), last("time"), last("res_bytes")];
  const [digest, answer] = [last("res_digest"), last("res_hdrs")];
  const answerHeaders = answer.text === "" ? undefined : readHeaders(answer);
  if (answer.text !== "" && !answerHeaders) return { unusable: "malformed headers" };
  allowance.answer -= (answerHeaders?.length ?? 0) / 2;
  if (allowance.request < 0 || allowance.answer < 0) return { unusable: "malformed message" };
  const hasOutcome = [status, timeMs, bytes, digest, answer].some(({ type }) => type !== "null");
  const bodies = sent.filter(({ name }) => name === "body" || name === "arg_body");
  const version = last("ver", "version", "arg_ver").text;
  const src = last("src");
  const contentLength = Math.max(-1, ...valuesOf(headers, "content-length").flatMap(lengthsIn));
  const transferEncoding = valuesOf(headers, "transfer-encoding").length > 0;
  const body = bodies.at(-1);
  const bodyState = bodyStateOf({
    body,
    whole: sent.findLast(({ name, type }) => name === "whole" && type === "boolean"),
    measured: Math.max(-1, ...all("body_len", "body_size").map(countOf)),
    declared: transferEncoding ? -1 : contentLength,
    needsLength: headers.length > 0 && version.startsWith("1") && !transferEncoding,
    freeBytes:
      peerFrameBytes - [method, path, ...headers, body?.text ?? ""].reduce((sum, { length }) => sum + length, 0),
    headers: headers.length / 2,
  });
  return {
    id: last("id").text,
    method,
    path,
    isHostOnly,
    version,
    src: src.text,
    srcIsAddress: src.type === "ipv4" || src.type === "ipv6",
    headers,
    body: body?.text ?? "",
    bodyState,
    contentLength,
    transferEncoding,
    outcome: hasOutcome
      ? {
          status: countOf(status),
          timeMs: countOf(timeMs),
          bytes: countOf(bytes),
          digest: digest.text,
          headers: answerHeaders,
        }
      : undefined,
  };
}

/** The values of a header, by lower-case name. */
export function valuesOf(headers: readonly string[], name: string): string[] {
  return headers.filter((_, i) => i % 2 === 1 && headers[i - 1].toLowerCase() === name);
}

/** All lengths in a Content-Length. One of more than 1 KiB is not read: no body is as long as it may say. */
function lengthsIn(value: string): number[] {
  if (value.length > 1_024) return [Number.POSITIVE_INFINITY];
  return value.split(",").flatMap((item) => (/^[ \t]*\d+[ \t]*$/.test(item) ? [Number(item)] : []));
}

function countOf({ type, number }: Argument): number {
  return type === "integer" && number < 2 ** 53 ? number : -1;
}

/** Path with query: of a URL, which is preferred, or of a path and its query. Empty if there is none. */
function pathOf(url: string, path: string, query: string): { readonly path: string; readonly isHostOnly: boolean } {
  const given = url === "" ? path : url;
  const [origin = ""] = /^[^:/?][^:/]*:\/\/[^/?]*|^:\/\/[^/?]*/.exec(given) ?? [];
  const rest = given.slice(origin.length);
  const isHostOnly = origin !== "" && rest === "";
  const rooted = rest.startsWith("?") || isHostOnly ? `/${rest}` : rest;
  if (!rooted.startsWith("/")) return { path: "", isHostOnly: false };
  return { path: query === "" || rooted.includes("?") ? rooted : `${rooted}?${query}`, isHostOnly };
}

/** Name, value, name, value, …; undefined if they are malformed. */
function readHeaders({ type, text }: Argument): string[] | undefined {
  return type === "string" ? readHeaderLines(text) : readHeaderList(text);
}

/** `req.hdrs`: lines up to an empty one. */
function readHeaderLines(text: string): string[] | undefined {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  const end = lines.indexOf("");
  const pairs = lines.slice(0, end < 0 ? lines.length : end).map((line) => /^([^:]+): ?([\s\S]*)$/.exec(line));
  return pairs.every((pair) => pair !== null) ? pairs.flatMap(([, name, value]) => [name, value]) : undefined;
}

/** `req.hdrs_bin`: lengths and texts, up to a name and a value that are empty. */
function readHeaderList(text: string): string[] | undefined {
  const bytes = new ByteText(text);
  const headers: string[] = [];
  while (!bytes.isAtEnd) {
    const [name, value] = [bytes.string(), bytes.string()];
    if (name === "" && value === "") return headers;
    if (!name || value === undefined) return undefined;
    headers.push(name, value);
  }
  return headers;
}

interface BodyFacts {
  readonly body: Argument | undefined;
  readonly whole: Argument | undefined;
  readonly measured: number;
  readonly declared: number;
  /** Whether a request without a length has no body. */
  readonly needsLength: boolean;
  /** What the texts of the request leave of a buffer. */
  readonly freeBytes: number;
  readonly headers: number;
}

/** By the table in agent/intake/body-state.ts. */
function bodyStateOf(facts: BodyFacts): ModelRequest["bodyState"] {
  const { body, whole, measured, declared, needsLength, freeBytes, headers } = facts;
  if (!body) return "omitted";
  if (whole?.number === 0) return "truncated";
  const { length } = body.text;
  if (length < measured || length < declared) return "truncated";
  const hasNoBody = declared === 0 || (declared === -1 && needsLength);
  if (body.type === "null" && !hasNoBody) return "omitted";
  if (whole || length === declared || (length === 0 && hasNoBody)) return "complete";
  if (measured === 0 && length > 0) return "truncated";
  // HAProxy keeps 1 KiB free, and needs some bytes for each header and for all.
  if (freeBytes <= 0) return "truncated";
  return freeBytes > 2_048 + 16 * headers ? "complete" : undefined;
}
