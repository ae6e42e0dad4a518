import { type Archive, ArchiveError } from "../archive/port.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { type CaptureRange, listCapture } from "./capture-index.ts";
import { decodeStoredPack, maxObjectSpanMs, type StoredPack, storedBytes } from "./capture-object.ts";
import type { SkippedPart } from "./capture-reader.ts";
import { putCaptureObject } from "./capture-writer.ts";
import { type DecodedPack, DistinctRequests } from "./distinct-requests.ts";
import { type CaptureObject, openNamedObject } from "./object-name.ts";

export interface CompactionOptions extends CaptureRange {
  /** Stops the compaction before it writes the next object. */
  readonly signal?: AbortSignal;
  /**
   * Names of objects that were read but not merged. Pass the set to the next compaction: it reads these objects again
   * only together with new ones. Otherwise objects that are small because they compress well would be read each time.
   */
  readonly settled?: Set<string>;
  /** Called for each object that cannot be read; the object is kept. */
  readonly onSkip?: (part: SkippedPart) => void;
}

/** Result of a compaction. */
export interface Compacted {
  /** Deleted objects (`before`) and the objects that now hold their requests (`after`), with their compressed bytes. */
  readonly before: { readonly objects: number; readonly bytes: number };
  readonly after: { readonly objects: number; readonly bytes: number };
  readonly skipped: number;
}

// Objects of at least this size are not merged.
const largeBytes = 4 * 1024 * 1024;
const maxMergedBytes = 8 * 1024 * 1024;
// Memory that a reader needs to open an object, however well it is compressed.
const maxMergedContentBytes = 32 * 1024 * 1024;
const maxSettled = 50_000;

interface Group {
  /** At least one small object. */
  readonly members: readonly CaptureObject[];
  /**
   * Large objects of the same time: a compaction that died may have merged members into them without deleting the
   * members.
   */
  readonly large: readonly CaptureObject[];
}

/**
 * Merges the small objects of a range into few objects of 4 to 8 MiB. The range should be in the past, because late
 * requests cause another merge. It should also be short, such as an hour, because the names of its objects are held in
 * memory. Objects that reach beyond the range are not merged.
 *
 * Writes the merged object before it deletes the first member. A process that dies in between leaves copies of
 * requests: readers skip them and the next compaction removes them. Several compactions may run at the same time.
 * Throws `ArchiveError`.
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
      // A single object without duplicates would be rewritten without a change.
      if (members.length === 0 || (members.length === 1 && requests === members[0].requests)) {
        for (const { name } of members) settled.add(name);
        continue;
      }
      const merged = packs.length > 0 ? (await putCaptureObject(archive, capture, packs)).object : undefined;
      // After a compaction that died, the merged object may be one of the members.
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

/** A merged object spans all objects that were merged into it. */
function isWithin(member: CaptureObject, large: CaptureObject): boolean {
  return member.firstMs >= large.firstMs && member.lastMs <= large.lastMs;
}

/** Reads the objects that fit into one merged object: the first `read` objects, of which `members` were readable. */
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

/** Undefined if the object cannot be read completely or is gone, for example merged by another compaction. */
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
