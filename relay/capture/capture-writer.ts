import { createHash } from "node:crypto";
import { type Archive, ArchiveError, type PutResult } from "../archive/port.ts";
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

/** The requests of a pack that belong to a capture: all or some of them. */
export interface CapturedShare {
  readonly pack: Pack;
  readonly requests: readonly PackedRequest[];
}

export interface WrittenCapture {
  readonly objects: readonly CaptureObject[];
  /** Requests in them. */
  readonly requests: number;
  /** Requests in those of the objects that existed already, under the same name. */
  readonly existing: number;
  /** Requests that no object can hold: captured after the year 9999 or larger than 64 MiB. */
  readonly refused: number;
}

/** Limit of an object in bytes before compression; a single larger pack is stored as one object. */
const maxBatchBytes = 8 * 1024 * 1024;

/**
 * Writes the packs of a batch into as few objects as their sizes and times allow. Writing the same batch again changes
 * nothing. Throws `ArchiveError`; some of the objects may be written then.
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
  const written: PutCaptureObject[] = [];
  for (const group of groupPacks(packs)) written.push(await putCaptureObject(archive, capture, group));
  const objects = written.map(({ object }) => object);
  const existing = countRequests(written.filter(({ result }) => result === "existing").map(({ object }) => object));
  return { objects, requests: countRequests(objects), existing, refused };
}

interface PutCaptureObject {
  readonly object: CaptureObject;
  readonly result: PutResult;
}

/**
 * Stores packs as one object, in any order, and a repeated pack once. The caller must make sure that they fit into
 * one object. Throws `ArchiveError`.
 */
export async function putCaptureObject(
  archive: Pick<Archive, "put">,
  capture: string,
  packs: readonly StoredPack[],
): Promise<PutCaptureObject> {
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
  let result: PutResult;
  try {
    result = await archive.put(name, sealed);
  } catch (error) {
    // The name contains a hash of the content, so the existing object holds the same packs, compressed by another zstd.
    if (!(error instanceof ArchiveError && error.code === "CONFLICT")) throw error;
    result = "existing";
  }
  return { object: { name, ...bounds, bytes: sealed.length }, result };
}

function countRequests(parts: readonly { readonly requests: number }[]): number {
  return parts.reduce((sum, { requests }) => sum + requests, 0);
}

/** Returns the share as one pack, or as several if it is too long or too large for an object. */
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
