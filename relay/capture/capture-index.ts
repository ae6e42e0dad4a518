import type { Archive } from "../archive/port.ts";
import { maxObjectSpanMs } from "./capture-object.ts";
import { type CaptureObject, maxCaptureMs, nameAt, parseObjectName } from "./object-name.ts";

/** A span of capture time: from the first millisecond to before the last; 0 and Infinity for all. */
export interface CaptureRange {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Of objects as a whole: what they hold beyond a range is counted, and what two of them hold is counted twice. */
export interface CaptureTotals {
  readonly objects: number;
  readonly requests: number;
  /** As they are stored, compressed. */
  readonly bytes: number;
  /** Capture time of the first and the last request; undefined where there are no objects. */
  readonly firstMs?: number;
  readonly lastMs?: number;
}

/**
 * The objects of a capture that reach into a range, by the time of their first request. No object is read. Throws
 * `ArchiveError`.
 */
export async function* listCapture(
  archive: Archive,
  capture: string,
  { fromMs, toMs }: CaptureRange,
): AsyncGenerator<CaptureObject> {
  const entries = archive.list({
    prefix: `${capture}/`,
    // An object that begins earlier does not reach into the range.
    from: nameAt(capture, fromMs - maxObjectSpanMs),
    ...(toMs <= maxCaptureMs && { until: nameAt(capture, toMs) }),
  });
  for await (const entry of entries) {
    const object = parseObjectName(capture, entry);
    if (object && object.lastMs >= fromMs && object.firstMs < toMs) yield object;
  }
}

/** What a range of a capture holds, by names alone. Throws `ArchiveError`. */
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
