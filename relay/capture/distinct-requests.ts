import { encodeShare, type Pack, type PackedRequest } from "../pack/pack.ts";
import { type StoredPack, toStoredPack } from "./capture-object.ts";

/** A pack in an object, and the same decoded. */
export interface DecodedPack {
  readonly stored: StoredPack;
  readonly pack: Pack;
}

/** Remembers which requests there have been, by pack, index and capture time. */
export class DistinctRequests {
  readonly #seen = new Map<string, Set<string>>();

  /** The packs with what has not been before, and without those of which that is nothing. */
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
