import { type Archive, ArchiveError } from "../archive/port.ts";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { listCapture } from "./capture-index.ts";
import { decodeStoredPack } from "./capture-object.ts";
import { openNamedObject } from "./object-name.ts";

type Key = Pick<CapturedRequest, "capturedAtMs" | "method" | "path">;

/** A request to look for, with one of these ids. */
export interface SoughtRequest {
  readonly request: Key;
  readonly ids: readonly string[];
}

// The host can merge objects after they were listed; each listing finds the merged ones.
const maxListings = 5;

/**
 * Returns those of the requests that a capture already has, with the same time, method and path. Reads only objects that
 * contain the time of one of them, and none of `written`. Skips broken objects. Throws
 * `ArchiveError`.
 */
export async function findPresent<T extends SoughtRequest>(
  archive: Archive,
  capture: string,
  requests: readonly T[],
  written: ReadonlySet<string>,
): Promise<ReadonlySet<T>> {
  const present = new Set<T>();
  if (requests.length === 0) return present;
  const byKey = new Map<string, T>();
  for (const sought of requests) {
    for (const id of sought.ids) byKey.set(keyOf(sought.request, id), sought);
  }
  const times = requests.map(({ request }) => request.capturedAtMs).sort((a, b) => a - b);
  const range = { fromMs: times[0], toMs: times[times.length - 1] + 1 };
  const read = new Set(written);
  let gone = true;
  for (let listing = 0; gone && listing < maxListings; listing++) {
    gone = false;
    for await (const object of listCapture(archive, capture, range)) {
      if (read.has(object.name) || !hasBetween(times, object.firstMs, object.lastMs)) continue;
      const bytes = await getObject(archive, object.name);
      gone ||= bytes === undefined;
      if (bytes) read.add(object.name);
      const packs = bytes ? openNamedObject(object, bytes) : [];
      if (packs instanceof DecodeError) continue;
      for (const stored of packs) {
        const pack = hasBetween(times, stored.firstMs, stored.lastMs) ? decodeStoredPack(stored) : undefined;
        if (!pack || pack instanceof DecodeError) continue;
        for (const request of pack.requests) {
          const sought = byKey.get(keyOf(request, request.id));
          if (sought) present.add(sought);
        }
      }
    }
  }
  return present;
}

function keyOf({ capturedAtMs, method, path }: Key, id: string): string {
  return `${capturedAtMs} ${id} ${method} ${path}`;
}

/** Undefined if the object is gone; empty if it is too big to be read. */
async function getObject(archive: Archive, name: string): Promise<Uint8Array | undefined> {
  try {
    return await archive.get(name);
  } catch (error) {
    if (error instanceof ArchiveError && error.code === "TOO_BIG") return new Uint8Array();
    throw error;
  }
}

/** Whether one of the sorted times is in the span, both ends included. */
function hasBetween(times: readonly number[], firstMs: number, lastMs: number): boolean {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle] < firstMs) low = middle + 1;
    else high = middle;
  }
  return low < times.length && times[low] <= lastMs;
}
