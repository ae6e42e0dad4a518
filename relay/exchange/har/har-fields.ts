import type { PrimaryOutcome } from "../../pack/captured-request.ts";
import { toByteString } from "../text-bytes.ts";
import { asObject, countOf, type JsonObject, objectsOf, textOf } from "./json-object.ts";

/** Reads a list of objects with `name` and `value` as name, value, name, value, … */
export function readPairs(list: unknown): string[] {
  return objectsOf(list).flatMap(({ name, value }) => [toByteString(textOf(name)), toByteString(textOf(value))]);
}

/** The version in `HTTP/1.1`, `http/2.0`, `h2`, `h3-29` or `HTTP/2+QUIC/46`; empty for any other text. */
export function readVersion(text: string): string {
  const version = /^(?:HTTP\/|h)(\d)(?:\.(\d))?(?:[-+].*)?$/i.exec(text);
  return version ? `${version[1]}.${version[2] ?? "0"}` : "";
}

/** Status, time and size of an answer; undefined if its status is not known. */
export function readOutcome(entry: JsonObject): PrimaryOutcome | undefined {
  const response = asObject(entry.response);
  const status = countOf(response.status);
  if (!status || status > 999) return undefined;
  const [timeMs, bytes] = [countOf(entry.time), countOf(response.bodySize)];
  return { status, ...(timeMs !== undefined && { timeMs }), ...(bytes !== undefined && { bytes }) };
}
