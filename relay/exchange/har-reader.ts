import { parseIsoMoment } from "../config/moment.ts";
import { headerOf, type PrimaryOutcome } from "../pack/captured-request.ts";
import type { ByteStream } from "./byte-stream.ts";
import { readPostData } from "./har-body.ts";
import { findTextFlaw } from "./http-text.ts";
import { maxCapturedAtMs, type Parsed, type ReadItem, toOriginForm } from "./imported.ts";
import { splitJsonArray } from "./json-elements.ts";
import { asObject, countOf, type JsonObject, objectsOf, textOf } from "./json-object.ts";
import { toByteString } from "./text-bytes.ts";

/** The entry field for data that HAR has no field for. HAR reserves names with an underscore for tools. */
export const harExtension = "_spoaRelay";

/** Reads the requests of a HAR 1.2 file entry by entry. */
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
  // Some tools write the fragment, which clients never send.
  const path = toByteString(textOf(own.path)) || toOriginForm(url.replace(/#.*$/s, ""));
  // URLs such as data: and blob: never leave the browser.
  if (own.path === undefined && !/^(?:\/|\*$)/.test(path)) return "the URL is not an HTTP URL";
  const foreign = !(harExtension in entry);
  const headers = readHeaders(request, foreign ? url : undefined);
  if (!headers) return "a header has no name";
  // Our own exports may contain requests that were captured with such a flaw.
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

/** Undefined without a time zone: then the time would depend on the machine that reads the file. */
function parseMoment(text: string): number | undefined {
  const ms = parseIsoMoment(text);
  return ms !== undefined && ms >= 0 && ms <= maxCapturedAtMs ? ms : undefined;
}

/**
 * Returns name, value, name, value, … or undefined if a name is missing.
 *
 * @param url source of the Host header if the entry has none: browsers leave it out with HTTP/2.
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
  // Some browsers list the cookies instead of writing a Cookie header.
  const cookies = objectsOf(request.cookies).map(({ name, value }) => `${textOf(name)}=${textOf(value)}`);
  if (cookies.length > 0 && headerOf(headers, "cookie") === undefined) {
    headers.push("cookie", toByteString(cookies.join("; ")));
  }
  return headers;
}

/** The version in `HTTP/1.1`, `http/2.0`, `h2` or `h3`; empty for any other text. */
function readVersion(text: string): string {
  const version = /^(?:HTTP\/|h)(\d)(?:\.(\d))?$/i.exec(text);
  return version ? `${version[1]}.${version[2] ?? "0"}` : "";
}

function readPrimary(entry: JsonObject): PrimaryOutcome | undefined {
  const response = asObject(entry.response);
  const status = countOf(response.status);
  // A status of 0 means that the request was blocked or aborted, or that the response is unknown.
  if (!status || status > 999) return undefined;
  const timed = asObject(entry[harExtension]).untimed !== true;
  const [timeMs, bytes] = [timed ? countOf(entry.time) : undefined, countOf(response.bodySize)];
  return { status, ...(timeMs !== undefined && { timeMs }), ...(bytes !== undefined && { bytes }) };
}
