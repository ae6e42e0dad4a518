import { type Archive, ArchiveError } from "../archive/port.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { type CaptureRange, listCapture } from "./capture-index.ts";
import { decodeStoredPack, maxObjectSpanMs, type StoredPack, storedBytes } from "./capture-object.ts";
import type { SkippedPart } from "./capture-reader.ts";
import { putCaptureObject } from "./capture-writer.ts";
import { type DecodedPack, DistinctRequests } from "./distinct-requests.ts";
import { type CaptureObject, openNamedObject } from "./object-name.ts";

export interface CompactionOptions extends CaptureRange {
  /** Ends before the next object is written. */
  readonly signal?: AbortSignal;
  /**
   * Names of objects that were read and left as they are, to be given to the next compaction: it reads them again only
   * together with others. What is small because it compresses well would else be read each time.
   */
  readonly settled?: Set<string>;
  /** Told of each object that cannot be read; it is left as it is. */
  readonly onSkip?: (part: SkippedPart) => void;
}

/** What has become of the objects that were merged. */
export interface Compacted {
  /** Objects that are gone, and those that hold their requests now, with their compressed bytes. */
  readonly before: { readonly objects: number; readonly bytes: number };
  readonly after: { readonly objects: number; readonly bytes: number };
  readonly skipped: number;
}

// Objects from here on are large enough, and are left as they are.
const largeBytes = 4 * 1024 * 1024;
const maxMergedBytes = 8 * 1024 * 1024;
// What a reader has to hold while it opens an object, however well it is compressed.
const maxMergedContentBytes = 32 * 1024 * 1024;
const maxSettled = 50_000;

interface Group {
  /** At least one, none of them large. */
  readonly members: readonly CaptureObject[];
  /** Large ones beside them, which may hold what a compaction that died has not deleted. */
  readonly large: readonly CaptureObject[];
}

/**
 * Merges the small objects of a range into few, of 4 to 8 MiB. The range should be over, since what comes late is merged
 * again; the names of its objects are held in memory, so an hour is better than a year. An object that reaches beyond the
 * range is left alone.
 *
 * What is merged is written before the first object is deleted. Whoever dies in between leaves copies, which readers pass
 * over and the next compaction removes. Several may run at the same time. Throws `ArchiveError`.
 */
export async function compactCapture(
  archive: Archive,
  capture: string,
  options: CompactionOptions,
): Promise<Compacted> {
  const { signal, settled = new Set(), onSkip = () => {} } = options;
  if (settled.size > maxSettled) settled.clear();
  const before = { objects: 0, bytes: 0 };
  const after = { objects: 0, bytes: 0 };
  let skipped = 0;
  const skip = (part: SkippedPart) => {
    skipped++;
    onSkip(part);
  };
  for (const group of await findGroups(archive, capture, options)) {
    if (signal?.aborted) break;
    if (group.members.every(({ name }) => settled.has(name))) continue;
    const distinct = new DistinctRequests();
    for (const object of group.large) distinct.take((await readObject(archive, object, skip)) ?? []);
    let waiting = group.members;
    while (waiting.length > 0 && !signal?.aborted) {
      const { read, members, packs } = await readMembers(archive, waiting, distinct, skip);
      waiting = waiting.slice(read);
      const requests = packs.reduce((sum, pack) => sum + pack.requests, 0);
      // A lone object of which nothing is left out would only be written again.
      if (members.length === 0 || (members.length === 1 && requests === members[0].requests)) {
        for (const { name } of members) settled.add(name);
        continue;
      }
      const merged = packs.length > 0 ? await putCaptureObject(archive, capture, packs) : undefined;
      // Those of a compaction that died may merge into the very object that is there.
      await archive.delete(members.map(({ name }) => name).filter((name) => name !== merged?.name));
      before.objects += members.length;
      before.bytes += members.reduce((sum, { bytes }) => sum + bytes, 0);
      after.objects += merged ? 1 : 0;
      after.bytes += merged?.bytes ?? 0;
    }
  }
  return { before, after, skipped };
}

async function findGroups(archive: Archive, capture: string, range: CaptureRange): Promise<readonly Group[]> {
  const small: CaptureObject[][] = [];
  const large: CaptureObject[] = [];
  let bytes = 0;
  let lastMs = 0;
  for await (const object of listCapture(archive, capture, range)) {
    if (object.bytes >= largeBytes) {
      large.push(object);
      continue;
    }
    if (object.firstMs < range.fromMs || object.lastMs >= range.toMs) continue;
    const group = small.at(-1);
    bytes += object.bytes;
    lastMs = Math.max(lastMs, object.lastMs);
    if (group && bytes <= maxMergedBytes && lastMs - group[0].firstMs <= maxObjectSpanMs) {
      group.push(object);
    } else {
      small.push([object]);
      bytes = object.bytes;
      lastMs = object.lastMs;
    }
  }
  return small
    .map((members) => ({ members, large: large.filter((each) => members.some((member) => isWithin(member, each))) }))
    .filter((group) => group.members.length > 1 || group.large.length > 0);
}

/** What was merged into an object lies within its span. */
function isWithin(member: CaptureObject, large: CaptureObject): boolean {
  return member.firstMs >= large.firstMs && member.lastMs <= large.lastMs;
}

/** Reads as many of the objects as can be one: `read` of them are settled, and `members` are those that could be read. */
async function readMembers(
  archive: Archive,
  objects: readonly CaptureObject[],
  distinct: DistinctRequests,
  skip: (part: SkippedPart) => void,
): Promise<{ readonly read: number; readonly members: CaptureObject[]; readonly packs: StoredPack[] }> {
  const packs: StoredPack[] = [];
  const members: CaptureObject[] = [];
  let bytes = 0;
  let read = 0;
  for (const object of objects) {
    const decoded = await readObject(archive, object, skip);
    const more = (decoded ?? []).reduce((sum, { stored }) => sum + storedBytes(stored), 0);
    if (members.length > 0 && bytes + more > maxMergedContentBytes) break;
    read++;
    if (!decoded) continue;
    packs.push(...distinct.take(decoded));
    members.push(object);
    bytes += more;
  }
  return { read, members, packs };
}

/** Undefined where it is gone, which another compaction may have done, or cannot be read whole. */
async function readObject(
  archive: Archive,
  object: CaptureObject,
  skip: (part: SkippedPart) => void,
): Promise<readonly DecodedPack[] | undefined> {
  const { name, requests } = object;
  let bytes: Uint8Array | undefined;
  try {
    bytes = await archive.get(name);
  } catch (error) {
    if (!(error instanceof ArchiveError && error.code === "TOO_BIG")) throw error;
    skip({ name, requests, reason: error.message });
  }
  if (!bytes) return undefined;
  const decoded = decodeObject(object, bytes);
  if (!(decoded instanceof DecodeError)) return decoded;
  skip({ name, requests, reason: decoded.message });
  return undefined;
}

function decodeObject(object: CaptureObject, bytes: Uint8Array): readonly DecodedPack[] | DecodeError {
  const packs = openNamedObject(object, bytes);
  if (packs instanceof DecodeError) return packs;
  const decoded: DecodedPack[] = [];
  for (const stored of packs) {
    const pack = decodeStoredPack(stored);
    if (pack instanceof DecodeError) return pack;
    decoded.push({ stored, pack });
  }
  return decoded;
}
