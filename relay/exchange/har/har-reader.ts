import { parseIsoMoment } from "../../config/moment.ts";
import type { PrimaryOutcome } from "../../pack/captured-request.ts";
import type { ByteStream } from "../byte-stream.ts";
import { hostOf, maxCapturedAtMs, type Parsed, type ReadItem, toOriginForm, toReadItem } from "../imported.ts";
import { findObstacle } from "../repeatable.ts";
import { toByteString } from "../text-bytes.ts";
import { parseForeignEntry } from "./foreign-entry.ts";
import { readOwnBody } from "./har-body.ts";
import { readOutcome, readPairs, readVersion } from "./har-fields.ts";
import { type ElementPlace, splitJsonArray } from "./json-elements.ts";
import { asObject, countOf, type JsonObject, textOf } from "./json-object.ts";

/** The entry field for data that HAR has no field for. HAR reserves names with an underscore for tools. */
export const harExtension = "_spoaRelay";

/** Reads the requests of a HAR 1.2 file entry by entry. */
export async function* readHar(stream: ByteStream, name: string, maxBytes: number): AsyncGenerator<ReadItem> {
  for await (const element of splitJsonArray(stream, ["log", "entries"], maxBytes)) {
    if (element.kind === "end") {
      const { reason, within } = element;
      yield { kind: "mistake", place: within ? toPlace(name, within) : name, reason };
      continue;
    }
    const { text, place } = element;
    const parsed = text === undefined ? `the entry is longer than ${maxBytes} bytes` : parseEntry(text);
    yield toReadItem(parsed, () => toPlace(name, place));
  }
}

function toPlace(name: string, { number, offset }: ElementPlace): string {
  return `${name}: entry ${number} at byte ${offset}`;
}

function parseEntry(text: string): Parsed {
  let entry: JsonObject;
  try {
    entry = asObject(JSON.parse(text));
  } catch {
    return "the entry is not valid JSON";
  }
  const capturedAtMs =
    parseMoment(textOf(entry.startedDateTime)) ?? "startedDateTime is missing, has no time zone or is before 1970";
  return harExtension in entry ? parseOwnEntry(entry, capturedAtMs) : parseForeignEntry(entry, capturedAtMs);
}

/** Restores a request that was exported, also one that only a broken client sends. */
function parseOwnEntry(entry: JsonObject, capturedAtMs: number | string): Parsed {
  const request = asObject(entry.request);
  const own = asObject(entry[harExtension]);
  const method = toByteString(textOf(request.method));
  const path = toByteString(textOf(own.path)) || toOriginForm(toByteString(textOf(request.url)).replace(/#.*$/s, ""));
  const headers = readPairs(request.headers);
  if (method === "" || path === "") return "the request has no method or no URL";
  const primary = readOwnOutcome(entry, own);
  const obstacle = findObstacle({ method, path, headers, ...(primary && { primary }) });
  if (obstacle !== undefined) return { reason: obstacle, host: hostOf({ headers }) };
  if (typeof capturedAtMs === "string") return capturedAtMs;
  return {
    id: toByteString(textOf(own.id)),
    capturedAtMs,
    method,
    path,
    version: own.version === undefined ? readVersion(textOf(request.httpVersion)) : toByteString(textOf(own.version)),
    src: toByteString(textOf(own.src)),
    headers,
    ...readOwnBody(request, textOf(own.bodyState)),
    ...(primary && { primary }),
  };
}

/** Undefined without a time zone: then the time would depend on the machine that reads the file. */
function parseMoment(text: string): number | undefined {
  const ms = parseIsoMoment(text);
  return ms !== undefined && ms >= 0 && ms <= maxCapturedAtMs ? ms : undefined;
}

/** The outcome as the writer noted it; earlier files have no `primary`, and say if the time is not known. */
function readOwnOutcome(entry: JsonObject, own: JsonObject): PrimaryOutcome | undefined {
  if (own.primary === undefined) {
    const outcome = readOutcome(entry);
    if (!outcome || own.untimed !== true) return outcome;
    const { timeMs: _unknown, ...known } = outcome;
    return known;
  }
  const { status, timeMs, bytes, digest, headers } = asObject(own.primary);
  const known = { status: countOf(status), timeMs: countOf(timeMs), bytes: countOf(bytes) };
  return {
    ...(known.status !== undefined && { status: known.status }),
    ...(known.timeMs !== undefined && { timeMs: known.timeMs }),
    ...(known.bytes !== undefined && { bytes: known.bytes }),
    ...(typeof digest === "string" && { digest: toByteString(digest) }),
    ...(headers === true && { headers: readPairs(asObject(entry.response).headers) }),
  };
}
