import { headerOf } from "../../pack/captured-request.ts";
import { findTextFlaw } from "../http-text.ts";
import type { Parsed } from "../imported.ts";
import { findObstacle, upgradeReason } from "../repeatable.ts";
import { toByteString } from "../text-bytes.ts";
import { readForeignBody } from "./foreign-body.ts";
import { readOutcome, readPairs, readVersion } from "./har-fields.ts";
import { asObject, type JsonObject, objectsOf, textOf } from "./json-object.ts";

const noAnswer = "blocked, failed or aborted: no response";
const fromCache = "answered from the browser's cache";
const fromWorker = "answered by a service worker";
const browserRedirect = "redirected by the browser itself (HSTS)";
const notHttp = "not an http or https URL";

/**
 * Parses an entry that another tool wrote.
 *
 * @param capturedAtMs or the reason why the time of the entry is damaged: an entry that is left out may have none.
 */
export function parseForeignEntry(entry: JsonObject, capturedAtMs: number | string): Parsed {
  const request = asObject(entry.request);
  const method = toByteString(textOf(request.method).trim());
  const url = textOf(request.url).trim();
  if (method === "" || url === "") {
    return typeof capturedAtMs === "string" ? capturedAtMs : "the request has no method or no URL";
  }
  const { host, path } = readUrl(url);
  if (method === "CONNECT") return { reason: findObstacle({ method, path, headers: [] }) ?? "", host };
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1].toLowerCase();
  if (scheme === "ws" || scheme === "wss") return { reason: upgradeReason, host };
  if (scheme !== undefined && scheme !== "http" && scheme !== "https") return { reason: notHttp, host: "" };
  const version = readVersion(textOf(request.httpVersion));
  const headers = readHeaders(request, host, version);
  const reason = findObstacle({ method, path, headers }) ?? findReason(entry);
  if (reason !== undefined) return { reason, host: headerOf(headers, "host") ?? host };
  if (typeof capturedAtMs === "string") return capturedAtMs;
  if (scheme !== undefined && host === "") return "the URL has no valid host";
  if (headers.some((part, i) => i % 2 === 0 && part === "")) return "a header has no name";
  const flaw = findTextFlaw({ method, path, headers });
  if (flaw !== undefined) return flaw;
  const primary = readOutcome(entry);
  return {
    id: "",
    capturedAtMs,
    method,
    path,
    version,
    src: "",
    headers,
    ...readForeignBody(request, { method, headers }),
    ...(primary && { primary }),
  };
}

/** The reason why no server got this request, or why it cannot be repeated. */
function findReason(entry: JsonObject): string | undefined {
  const response = asObject(entry.response);
  const status = typeof response.status === "string" ? Number(response.status) : response.status;
  // Chrome names the cache; Safari names where the response came from.
  const source = textOf(entry._fetchType) || textOf(response._fetchType);
  if (entry._fromCache || response._fromCache || /^(?:memory|disk) cache$/i.test(source)) return fromCache;
  if (/^inspector override$/i.test(source)) return fromWorker;
  const workerSource = textOf(response._serviceWorkerResponseSource);
  if (/^(?:cache-storage|fallback-code)$/i.test(workerSource)) return fromWorker;
  if (/^http-cache$/i.test(workerSource)) return fromCache;
  if (status === 101 || "_webSocketMessages" in entry || entry._resourceType === "websocket") return upgradeReason;
  if (isInternalRedirect(response)) return browserRedirect;
  // A response that is missing altogether is unknown.
  if (typeof status === "number" && status <= 0) return noAnswer;
  const failed = textOf(response._error) || textOf(entry._error);
  return failed !== "" && !(Number(status) > 0) ? noAnswer : undefined;
}

/** Chrome writes an entry for each redirect from http to https that it makes because of HSTS or an extension. */
function isInternalRedirect(response: JsonObject): boolean {
  if (response.statusText === "Internal Redirect") return true;
  return objectsOf(response.headers).some(({ name }) => /^non-authoritative-reason$/i.test(textOf(name)));
}

/**
 * Host and path of a URL, the path as a client sends it: without fragment, spaces and other characters than ASCII
 * percent-encoded as UTF-8. The host is empty if the URL has none or an invalid one.
 */
function readUrl(url: string): { readonly host: string; readonly path: string } {
  const authority = /^https?:\/\/([^/?#\\]*)/i.exec(url);
  const rest = url.slice(authority?.[0].length ?? 0).replace(/#.*$/s, "");
  const path = rest.replace(/[ \x7f-\uffff]+/g, percentEncode);
  const host = authority?.[1] ? (URL.parse(authority[0])?.host ?? "") : "";
  return { host, path: authority && !path.startsWith("/") ? `/${path}` : path };
}

function percentEncode(text: string): string {
  return Buffer.from(text)
    .toString("latin1")
    .replace(/./gs, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

/**
 * Returns name, value, name, value, … without the pseudo-headers of HTTP/2.
 *
 * @param urlHost the Host header if the entry has none: browsers leave it out with HTTP/2.
 */
function readHeaders(request: JsonObject, urlHost: string, version: string): string[] {
  const pairs = readPairs(request.headers);
  const headers: string[] = [];
  for (let i = 0; i < pairs.length; i += 2) if (!pairs[i].startsWith(":")) headers.push(pairs[i], pairs[i + 1]);
  const host = headerOf(pairs, ":authority") || urlHost;
  if (host !== "" && headerOf(headers, "host") === undefined) headers.unshift("host", host);
  // Some browsers list the cookies instead of writing a Cookie header.
  const cookies = objectsOf(request.cookies).map(({ name, value }) => `${textOf(name)}=${textOf(value)}`);
  if (cookies.length > 0 && headerOf(headers, "cookie") === undefined) {
    headers.push("cookie", toByteString(cookies.join("; ")));
  }
  return /^[01]/.test(version) ? headers : joinCookies(headers);
}

/** HTTP/2 can split the Cookie header; HTTP/1 needs it in one piece (RFC 9113 8.2.3). */
function joinCookies(headers: readonly string[]): string[] {
  const joined: string[] = [];
  let cookieAt = -1;
  for (let i = 0; i < headers.length; i += 2) {
    const isCookie = headers[i].toLowerCase() === "cookie";
    if (isCookie && cookieAt >= 0) {
      joined[cookieAt] += `; ${headers[i + 1]}`;
      continue;
    }
    if (isCookie) cookieAt = joined.length + 1;
    joined.push(headers[i], headers[i + 1]);
  }
  return joined;
}
