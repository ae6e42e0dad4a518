import type { Archive } from "../archive/port.ts";
import { listCapture } from "./capture-index.ts";
import type { CaptureObject } from "./object-name.ts";

export interface ExpiryOptions {
  /** Objects whose last request was captured before this time are deleted. */
  readonly beforeMs: number;
  /** Maximum number of objects to delete in one call. */
  readonly maxObjects?: number;
}

/** Result of one call. */
export interface Expired {
  readonly objects: number;
  readonly requests: number;
  readonly bytes: number;
  /** Whether there are more objects to delete. */
  readonly more: boolean;
}

const defaultMaxObjects = 10_000;
const deletedAtOnce = 1_000;

/**
 * Deletes old objects, the oldest first. Used for directories: S3 buckets have lifecycle rules. Throws `ArchiveError`;
 * some of the objects may be deleted then.
 */
export async function expireCapture(
  archive: Archive,
  capture: string,
  { beforeMs, maxObjects = defaultMaxObjects }: ExpiryOptions,
): Promise<Expired> {
  const old: CaptureObject[] = [];
  let more = false;
  for await (const object of listCapture(archive, capture, { fromMs: 0, toMs: beforeMs })) {
    if (object.lastMs >= beforeMs) continue;
    more = old.length === maxObjects;
    if (more) break;
    old.push(object);
  }
  for (let start = 0; start < old.length; start += deletedAtOnce) {
    await archive.delete(old.slice(start, start + deletedAtOnce).map(({ name }) => name));
  }
  return {
    objects: old.length,
    requests: old.reduce((sum, { requests }) => sum + requests, 0),
    bytes: old.reduce((sum, { bytes }) => sum + bytes, 0),
    more,
  };
}
