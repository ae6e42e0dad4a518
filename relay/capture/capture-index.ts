import type { Archive } from "../archive/port.ts";
import { maxObjectSpanMs } from "./capture-object.ts";
import { type CaptureObject, maxCaptureMs, nameAt, parseObjectName } from "./object-name.ts";

/** A span of capture time in ms, `toMs` excluded; 0 and Infinity for the whole capture. */
export interface CaptureRange {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Totals of whole objects: requests outside the range count if their object reaches into it, and copies count twice.
 */
export interface CaptureTotals {
  readonly objects: number;
  readonly requests: number;
  /** Compressed size in the archive. */
  readonly bytes: number;
  /** Capture time of the first and the last request; undefined if there are no objects. */
  readonly firstMs?: number;
  readonly lastMs?: number;
}

/**
 * Lists the objects of a capture that reach into a range, ordered by the time of their first request. Reads no object.
 * Throws `ArchiveError`.
 */
export async function* listCapture(
  archive: Archive,
  capture: string,
  { fromMs, toMs }: CaptureRange,
): AsyncGenerator<CaptureObject> {
  const entries = archive.list({
    prefix: `${capture}/`,
    // An object that begins earlier cannot reach into the range.
    from: nameAt(capture, fromMs - maxObjectSpanMs),
    ...(toMs <= maxCaptureMs && { until: nameAt(capture, toMs) }),
  });
  for await (const entry of entries) {
    const object = parseObjectName(capture, entry);
    if (object && object.lastMs >= fromMs && object.firstMs < toMs) yield object;
  }
}

/** Sums up a range of a capture from object names alone. Throws `ArchiveError`. */
export async function sumCapture(archive: Archive, capture: string, range: CaptureRange): Promise<CaptureTotals> {
  let totals: CaptureTotals = { objects: 0, requests: 0, bytes: 0 };
  for await (const { firstMs, lastMs, requests, bytes } of listCapture(archive, capture, range)) {
    totals = {
      objects: totals.objects + 1,
      requests: totals.requests + requests,
      bytes: totals.bytes + bytes,
      firstMs: totals.firstMs ?? firstMs,
      lastMs: Math.max(totals.lastMs ?? 0, lastMs),
    };
  }
  return totals;
}

/** The share of an object's time that is within a range. The object must reach into the range. */
export function shareWithin(object: Pick<CaptureObject, "firstMs" | "lastMs">, { fromMs, toMs }: CaptureRange): number {
  const [firstMs, lastMs] = [Math.max(fromMs, object.firstMs), Math.min(toMs - 1, object.lastMs)];
  return (lastMs - firstMs + 1) / (object.lastMs - object.firstMs + 1);
}
