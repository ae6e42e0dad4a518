import type { TargetConfig } from "../config/config.ts";
import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";
import { isReservedHeader } from "../pack/reserved-headers.ts";
import { createLoopMark, idHeader } from "../rules/loop-mark.ts";

/** A request as it is sent to a shadow. */
export interface OutboundRequest {
  readonly method: string;
  readonly path: string;
  /** Name, value, name, value, … */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

export type Prepared =
  | { readonly kind: "send"; readonly request: OutboundRequest }
  | { readonly kind: "unsendable"; readonly reason: string };

const methodsWithBody: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

// RFC 9110 5.6.2 and 5.5. undici also refuses requests that do not match, but then counts their connection as busy forever.
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const requestTarget = /^\/[\x21-\xff]*$/;

/** True if the captured body is not the whole body that the client sent. */
export function isBodyIncomplete(request: CapturedRequest): boolean {
  if (request.bodyState === "complete") return false;
  if (request.bodyState === "truncated") return true;
  // It overrides Content-Length (RFC 9112 6.3).
  if (headerOf(request.headers, "transfer-encoding") !== undefined) return true;
  const length = headerOf(request.headers, "content-length");
  if (length !== undefined) return length !== "0";
  // Imported from an access log, which has neither headers nor bodies.
  if (request.headers.length === 0) return methodsWithBody.has(request.method);
  // HTTP/2 and HTTP/3 need neither header to send a body; requests with these methods usually have one.
  return /^[23]/.test(request.version) && methodsWithBody.has(request.method);
}

/**
 * Creates the request to send to the target. No part of the captured request can change its destination: the transport is
 * bound to the target's origin, and this function only passes on a path in origin form.
 *
 * @param attempt 1 for the first delivery.
 */
export function prepareOutbound(target: TargetConfig, request: CapturedRequest, attempt: number): Prepared {
  const path = rewritePath(target, request.path);
  const flaw = findFlaw(request.method, path);
  if (flaw !== undefined) return { kind: "unsendable", reason: flaw };
  const host = hostHeader(target, request);
  if (!fieldValue.test(host)) return { kind: "unsendable", reason: badValue("host") };
  const headers = ["host", host];
  const { loopGuard } = target;
  const { set, remove } = target.headers;
  // Names are in lower case in HTTP/2.
  const http2 = target.protocol !== "http1";
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const name = request.headers[i];
    const { lowerCase, reserved, valid } = lookUpName(name);
    // Only what belongs to a hop in itself: HAProxy also passes on to the primary what a Connection header names.
    if (reserved || lowerCase === loopGuard.header) continue;
    if (remove.includes(lowerCase) || Object.hasOwn(set, lowerCase)) continue;
    if (!valid) return { kind: "unsendable", reason: "a header name has a character that HTTP does not allow" };
    const value = request.headers[i + 1];
    if (!fieldValue.test(value)) return { kind: "unsendable", reason: badValue(name) };
    headers.push(http2 ? lowerCase : name, value);
  }
  // RFC 9113 8.2.2. gRPC servers refuse requests without it.
  if (http2 && hasTrailers(request)) headers.push("te", "trailers");
  if (!fieldValue.test(request.id)) return { kind: "unsendable", reason: badValue(idHeader) };
  for (const name of Object.keys(set)) {
    const value = set[name];
    if (typeof value === "string") headers.push(name, value);
    else if (!fieldValue.test(request.src)) return { kind: "unsendable", reason: badValue(name) };
    else if (request.src !== "") headers.push(name, toForwardedFor(request.src));
  }
  const mark = createLoopMark(loopGuard, request.id);
  headers.push(
    idHeader,
    loopGuard.header === idHeader ? mark : request.id,
    "x-mirror-captured-at",
    new Date(request.capturedAtMs).toISOString(),
    "x-mirror-target",
    target.name,
    "x-mirror-attempt",
    String(attempt),
  );
  if (loopGuard.header !== idHeader) headers.push(loopGuard.header, mark);
  if (isBodyIncomplete(request)) headers.push("x-mirror-truncated", "true");
  return { kind: "send", request: { method: request.method, path, headers, body: request.body } };
}

/** What is known about the name of a header. */
interface HeaderName {
  readonly lowerCase: string;
  readonly reserved: boolean;
  readonly valid: boolean;
}

// Most requests have the same few header names. The limits keep hostile clients from filling the memory with made-up names.
const knownNames = new Map<string, HeaderName>();
const maxKnownNames = 1_000;
const maxKnownNameChars = 64;

function lookUpName(name: string): HeaderName {
  const known = knownNames.get(name);
  if (known) return known;
  const lowerCase = name.toLowerCase();
  const looked = { lowerCase, reserved: isReservedHeader(lowerCase), valid: token.test(name) };
  if (knownNames.size < maxKnownNames && name.length <= maxKnownNameChars) knownNames.set(name, looked);
  return looked;
}

function findFlaw(method: string, path: string): string | undefined {
  if (!path.startsWith("/")) return "the path does not begin with /";
  if (!requestTarget.test(path)) return "the path contains a space, a line break or another control character";
  if (method === "CONNECT") return "CONNECT opens a tunnel; it cannot be replayed";
  if (method === "") return "the method is empty";
  return token.test(method) ? undefined : "the method has a character that HTTP does not allow";
}

function badValue(name: string): string {
  return `header ${name} contains a line break or another control character`;
}

function rewritePath(target: TargetConfig, path: string): string {
  if (!target.path || !path.startsWith("/")) return path;
  if ("prefix" in target.path) return target.path.prefix.replace(/\/+$/, "") + path;
  return target.path.match.replace(path, target.path.replace);
}

function hostHeader(target: TargetConfig, request: CapturedRequest): string {
  if (target.host === "target") return target.url.host;
  if (target.host === "original") return headerOf(request.headers, "host") ?? target.url.host;
  return target.host;
}

// HAProxy's option forwardfor writes an IPv4 address that came over an IPv6 socket as ::ffff:192.0.2.1.
function toForwardedFor(src: string): string {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(src) ?? [];
  if (high === undefined) return src;
  const bytes = [high, low].flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]);
  return `::ffff:${bytes.join(".")}`;
}

/** Whether the client accepts trailers. */
function hasTrailers({ headers }: CapturedRequest): boolean {
  return /(?:^|,)\s*trailers\s*(?:$|[,;])/i.test(headerOf(headers, "te") ?? "");
}
