import { encodeShare, type Pack, type PackedRequest } from "../pack/pack.ts";
import { type StoredPack, toStoredPack } from "./capture-object.ts";

/** A pack in an object, and its decoded form. */
export interface DecodedPack {
  readonly stored: StoredPack;
  readonly pack: Pack;
}

/** Removes duplicate requests: the same pack, index and capture time. */
export class DistinctRequests {
  readonly #seen = new Map<string, Set<string>>();

  /** Returns the packs with only the requests that were not seen before; leaves out packs without any. */
  take(packs: readonly DecodedPack[]): readonly StoredPack[] {
    return packs.flatMap(({ stored, pack }) => {
      const fresh = pack.requests.filter((request) => this.#note(pack, request));
      if (fresh.length === 0) return [];
      if (fresh.length === pack.requests.length) return [stored];
      return [toStoredPack(encodeShare(pack, fresh, pack.attempt), fresh)];
    });
  }

  #note(pack: Pack, { index, capturedAtMs }: PackedRequest): boolean {
    const key = `${pack.sequence}-${pack.id}`;
    const seen = this.#seen.get(key) ?? new Set();
    this.#seen.set(key, seen);
    const before = seen.size;
    return seen.add(`${index}@${capturedAtMs}`).size > before;
  }
}
