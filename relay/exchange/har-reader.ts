import { headerOf, type PrimaryOutcome } from "../pack/captured-request.ts";
import type { ByteStream } from "./byte-stream.ts";
import { readPostData } from "./har-body.ts";
import { findTextFlaw } from "./http-text.ts";
import { maxCapturedAtMs, type Parsed, type ReadItem, toOriginForm } from "./imported.ts";
import { splitJsonArray } from "./json-elements.ts";
import { asObject, countOf, type JsonObject, objectsOf, textOf } from "./json-object.ts";
import { toByteString } from "./text-bytes.ts";

/** The field of an entry with what the format has no place for; it leaves names with an underscore to those who write it. */
export const harExtension = "_spoaRelay";

/** The requests of a HAR 1.2 file, entry by entry. */
export async function* readHar(stream: ByteStream, name: string, maxBytes: number): AsyncGenerator<ReadItem> {
  for await (const element of splitJsonArray(stream, ["log", "entries"], maxBytes)) {
    if (element.kind === "end") {
      yield { kind: "mistake", place: name, reason: element.reason };
      continue;
    }
    const { text, number, offset } = element;
    const parsed = text === undefined ? `the entry is longer than ${maxBytes} bytes` : parseEntry(text);
    if (typeof parsed !== "string") yield { kind: "request", request: parsed };
    else yield { kind: "mistake", place: `${name}: entry ${number} at byte ${offset}`, reason: parsed };
  }
}

function parseEntry(text: string): Parsed {
  let entry: JsonObject;
  try {
    entry = asObject(JSON.parse(text));
  } catch {
    return "the entry is not valid JSON";
  }
  const request = asObject(entry.request);
  const own = asObject(entry[harExtension]);
  const capturedAtMs = parseMoment(textOf(entry.startedDateTime));
  if (capturedAtMs === undefined) return "startedDateTime is missing, has no time zone or is before 1970";
  const method = toByteString(textOf(request.method));
  const url = toByteString(textOf(request.url));
  if (method === "" || url === "") return "the request has no method or no URL";
  // Some tools write the fragment, too, which no client sends.
  const path = toByteString(textOf(own.path)) || toOriginForm(url.replace(/#.*$/s, ""));
  // data:, blob: and the like never left the browser.
  if (own.path === undefined && !/^(?:\/|\*$)/.test(path)) return "the URL is not an HTTP URL";
  const foreign = !(harExtension in entry);
  const headers = readHeaders(request, foreign ? url : undefined);
  if (!headers) return "a header has no name";
  // What we have written came in like that.
  const flaw = foreign ? findTextFlaw({ method, path, headers }) : undefined;
  if (flaw !== undefined) return flaw;
  const primary = readPrimary(entry);
  return {
    id: toByteString(textOf(own.id)),
    capturedAtMs,
    method,
    path,
    version: readVersion(textOf(request.httpVersion)),
    src: toByteString(textOf(own.src)),
    headers,
    ...readPostData(request, headers, textOf(own.bodyState)),
    ...(primary && { primary }),
  };
}

/** Without a zone the moment would depend on the machine that reads it. */
function parseMoment(text: string): number | undefined {
  if (!/(?:Z|[+-]\d\d:?\d\d)$/i.test(text)) return undefined;
  const ms = Date.parse(text.replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
  return ms >= 0 && ms <= maxCapturedAtMs ? ms : undefined;
}

/**
 * Name, value, name, value, … or undefined where a name is missing.
 *
 * @param url where a Host header is taken from if there is none: browsers leave it out with HTTP/2.
 */
function readHeaders(request: JsonObject, url: string | undefined): string[] | undefined {
  const headers: string[] = [];
  let authority = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#]*)/i.exec(url ?? "")?.[1];
  for (const header of objectsOf(request.headers)) {
    const [name, value] = [toByteString(textOf(header.name)), toByteString(textOf(header.value))];
    if (name === "") return undefined;
    if (name === ":authority" && url !== undefined) authority = value;
    if (!name.startsWith(":")) headers.push(name, value);
  }
  if (url === undefined) return headers;
  if (authority && headerOf(headers, "host") === undefined) headers.unshift("host", authority);
  // Browsers can leave the Cookie header out and list the cookies.
  const cookies = objectsOf(request.cookies).map(({ name, value }) => `${textOf(name)}=${textOf(value)}`);
  if (cookies.length > 0 && headerOf(headers, "cookie") === undefined) {
    headers.push("cookie", toByteString(cookies.join("; ")));
  }
  return headers;
}

/** `HTTP/1.1`, `http/2.0`, `h2`, `h3`; empty for anything else. */
function readVersion(text: string): string {
  const version = /^(?:HTTP\/|h)(\d)(?:\.(\d))?$/i.exec(text);
  return version ? `${version[1]}.${version[2] ?? "0"}` : "";
}

function readPrimary(entry: JsonObject): PrimaryOutcome | undefined {
  const response = asObject(entry.response);
  const status = countOf(response.status);
  // 0 stands for a request that was blocked or broken off, and for no answer known.
  if (!status || status > 999) return undefined;
  const timed = asObject(entry[harExtension]).untimed !== true;
  const [timeMs, bytes] = [timed ? countOf(entry.time) : undefined, countOf(response.bodySize)];
  return { status, ...(timeMs !== undefined && { timeMs }), ...(bytes !== undefined && { bytes }) };
}
