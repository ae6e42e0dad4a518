import { createHash } from "node:crypto";
import { type Archive, ArchiveError } from "../archive/port.ts";
import { encodeShare, type Pack, type PackedRequest } from "../pack/pack.ts";
import {
  maxObjectSpanMs,
  maxStoredContentBytes,
  type StoredPack,
  sealCaptureObject,
  storedBytes,
  toStoredPack,
} from "./capture-object.ts";
import { type CaptureObject, maxCaptureMs, toObjectName } from "./object-name.ts";

/** The requests of a pack that a capture takes: all of them, or some. */
export interface CapturedShare {
  readonly pack: Pack;
  readonly requests: readonly PackedRequest[];
}

export interface WrittenCapture {
  readonly objects: readonly CaptureObject[];
  /** Requests in them. */
  readonly requests: number;
  /** Requests that no object can hold: captured after the year 9999, or larger than 64 MiB. */
  readonly refused: number;
}

/** An object is closed before it grows beyond so many bytes, before compression; one pack is stored in any case. */
const maxBatchBytes = 8 * 1024 * 1024;

/**
 * Writes the packs of a batch into as few objects as their sizes and times allow. The same batch again writes nothing.
 * Throws `ArchiveError`: some of the objects may be there then.
 */
export async function writeCapture(
  archive: Pick<Archive, "put">,
  capture: string,
  shares: readonly CapturedShare[],
): Promise<WrittenCapture> {
  let refused = 0;
  const packs: StoredPack[] = [];
  for (const share of shares) {
    const requests = share.requests.filter(({ capturedAtMs }) => capturedAtMs <= maxCaptureMs);
    const fitting = toStoredPacks(share.pack, requests).filter(
      ({ content }) => content.length <= maxStoredContentBytes,
    );
    refused += share.requests.length - countRequests(fitting);
    packs.push(...fitting);
  }
  const objects: CaptureObject[] = [];
  for (const group of groupPacks(packs)) objects.push(await putCaptureObject(archive, capture, group));
  return { objects, requests: countRequests(objects), refused };
}

/**
 * Stores packs as one object; a pack that comes twice is stored once, and their order does not matter. They must fit into
 * one. Throws `ArchiveError`.
 */
export async function putCaptureObject(
  archive: Pick<Archive, "put">,
  capture: string,
  packs: readonly StoredPack[],
): Promise<CaptureObject> {
  const byHash = new Map(packs.map((pack) => [hashOf(pack.content), pack]));
  const hashed = [...byHash].sort(([a, { firstMs: aMs }], [b, { firstMs: bMs }]) => aMs - bMs || (a < b ? -1 : 1));
  const sorted = hashed.map(([, pack]) => pack);
  const bounds = {
    firstMs: sorted[0].firstMs,
    lastMs: Math.max(...sorted.map(({ lastMs }) => lastMs)),
    requests: countRequests(sorted),
  };
  const name = toObjectName(capture, bounds, hashOf(hashed.map(([hash]) => hash).join()));
  const sealed = sealCaptureObject(sorted);
  try {
    await archive.put(name, sealed);
  } catch (error) {
    // The name tells the content: it is there already, compressed by another version of zstd.
    if (!(error instanceof ArchiveError && error.code === "CONFLICT")) throw error;
  }
  return { name, ...bounds, bytes: sealed.length };
}

function countRequests(parts: readonly { readonly requests: number }[]): number {
  return parts.reduce((sum, { requests }) => sum + requests, 0);
}

/** The whole share as one, unless it is too long for an object, in time or in bytes. */
function toStoredPacks(pack: Pack, requests: readonly PackedRequest[]): readonly StoredPack[] {
  const pieces: PackedRequest[][] = [];
  const sorted = requests.toSorted((a, b) => a.capturedAtMs - b.capturedAtMs || a.index - b.index);
  let bytes = 0;
  for (const request of sorted) {
    const piece = pieces.at(-1);
    bytes += request.record.length;
    if (piece && bytes <= maxBatchBytes && request.capturedAtMs - piece[0].capturedAtMs <= maxObjectSpanMs) {
      piece.push(request);
    } else {
      pieces.push([request]);
      bytes = request.record.length;
    }
  }
  const parts = pieces.length === 1 ? [requests] : pieces;
  return parts.map((part) => toStoredPack(encodeShare(pack, part, pack.attempt), part));
}

function groupPacks(packs: readonly StoredPack[]): readonly (readonly StoredPack[])[] {
  const groups: StoredPack[][] = [];
  let bytes = 0;
  let lastMs = 0;
  for (const pack of packs.toSorted((a, b) => a.firstMs - b.firstMs || a.lastMs - b.lastMs)) {
    const group = groups.at(-1);
    bytes += storedBytes(pack);
    lastMs = Math.max(lastMs, pack.lastMs);
    if (group && bytes <= maxBatchBytes && lastMs - group[0].firstMs <= maxObjectSpanMs) {
      group.push(pack);
    } else {
      groups.push([pack]);
      bytes = storedBytes(pack);
      lastMs = pack.lastMs;
    }
  }
  return groups;
}

function hashOf(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 32);
}
