import type { ArchiveEntry } from "../archive/port.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { maxObjectSpanMs, openCaptureObject, type StoredPack } from "./capture-object.ts";

/** An object as described by its name and size. */
export interface CaptureObject {
  readonly name: string;
  /** Capture time of the first and the last request. */
  readonly firstMs: number;
  readonly lastMs: number;
  readonly requests: number;
  /** Compressed size in the archive. */
  readonly bytes: number;
}

/** Latest capture time of a request in an object: names sort by time only while years have four digits. */
export const maxCaptureMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/**
 * Returns the name of an object: `shop/2026/11/22/17/20261122T175341.123Z~20261122T175342.456Z~150~<hash>.packs`, in
 * the folder of the hour (UTC) of its first request.
 *
 * @param hash hexadecimal digits of a hash of the content
 */
export function toObjectName(
  capture: string,
  { firstMs, lastMs, requests }: Pick<CaptureObject, "firstMs" | "lastMs" | "requests">,
  hash: string,
): string {
  return `${nameAt(capture, firstMs)}~${timeText(lastMs)}~${requests}~${hash}.packs`;
}

/**
 * Start of the names of all objects whose first request was captured at this time. Clips the time to the allowed range.
 */
export function nameAt(capture: string, firstMs: number): string {
  const time = timeText(Math.min(maxCaptureMs, Math.max(0, firstMs)));
  const [, year, month, day, hour] = /^(\d{4})(\d\d)(\d\d)T(\d\d)/.exec(time) as RegExpExecArray;
  return `${capture}/${year}/${month}/${day}/${hour}/${time}`;
}

/** Undefined if the entry is not an object of this capture. */
export function parseObjectName(capture: string, { name, bytes }: ArchiveEntry): CaptureObject | undefined {
  const match = pattern.exec(name);
  if (!match) return undefined;
  const [, first, last, count, hash] = match;
  const firstMs = parseTime(first);
  const lastMs = parseTime(last);
  if (!(lastMs >= firstMs && lastMs - firstMs <= maxObjectSpanMs)) return undefined;
  const requests = Number(count);
  // Another folder, a day that does not exist, or more text before the name.
  if (toObjectName(capture, { firstMs, lastMs, requests }, hash) !== name) return undefined;
  return { name, firstMs, lastMs, requests, bytes };
}

/** Opens an object. Also returns a `DecodeError` if its times or number of requests differ from those in its name. */
export function openNamedObject(object: CaptureObject, sealed: Uint8Array): readonly StoredPack[] | DecodeError {
  const packs = openCaptureObject(sealed);
  if (packs instanceof DecodeError) return packs;
  const requests = packs.reduce((sum, pack) => sum + pack.requests, 0);
  const within = packs.every(({ firstMs, lastMs }) => firstMs >= object.firstMs && lastMs <= object.lastMs);
  if (within && requests === object.requests) return packs;
  return new DecodeError("BAD_VALUE", 0, "the object's times or number of requests differ from those in its name");
}

const pattern = /\/(\d{8}T\d{6}\.\d{3}Z)~(\d{8}T\d{6}\.\d{3}Z)~([1-9]\d{0,9})~([0-9a-f]{32})\.packs$/;

function timeText(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[:-]/g, "");
}

/** NaN for a date or time that does not exist. */
function parseTime(text: string): number {
  return Date.parse(text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)/, "$1-$2-$3T$4:$5:"));
}
