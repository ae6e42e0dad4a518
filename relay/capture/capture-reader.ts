import { type Archive, ArchiveError } from "../archive/port.ts";
import { DecodeError } from "../pack/decode-error.ts";
import type { Pack, PackedRequest } from "../pack/pack.ts";
import { type CaptureRange, listCapture } from "./capture-index.ts";
import { decodeStoredPack, type StoredPack } from "./capture-object.ts";
import { type CapturePosition, comparePositions, startOf } from "./capture-position.ts";
import { MinHeap } from "./min-heap.ts";
import { type CaptureObject, openNamedObject } from "./object-name.ts";

/** A request of a capture. */
export interface CaptureEntry {
  readonly position: CapturePosition;
  readonly request: PackedRequest;
  /** The pack that it was captured in, or a share of that pack. */
  readonly pack: Pack;
}

/** A part of a capture that cannot be read: an object, or a pack in one. */
export interface SkippedPart {
  readonly name: string;
  /** Number of requests in it, as stated by the object's name or by the object. */
  readonly requests: number;
  readonly reason: string;
}

export interface CaptureReaderOptions extends CaptureRange {
  /** Starts with the first request after this position. */
  readonly after?: CapturePosition | undefined;
  /**
   * Limit for undecoded packs that are held for later, in bytes before compression. Also in memory: one object while it
   * is opened, one pack of each further object that overlaps the current time, and the decoded requests of the current
   * packs.
   */
  readonly maxHeldBytes?: number;
  /** Called for each part that is skipped. */
  readonly onSkip?: (part: SkippedPart) => void;
}

/** A source of requests at `key` or later. */
type Source =
  | {
      readonly kind: "object";
      readonly key: CapturePosition;
      readonly object: CaptureObject;
      readonly nextPack: number;
    }
  | { readonly kind: "pack"; readonly key: CapturePosition; readonly object: CaptureObject; readonly pack: StoredPack }
  | { readonly kind: "requests"; readonly key: CapturePosition; readonly open: OpenPack; readonly at: number };

interface OpenPack {
  readonly pack: Pack;
  /** In the order of their positions. */
  readonly requests: readonly PackedRequest[];
  readonly heldBytes: number;
}

const defaultHeldBytes = 64 * 1024 * 1024;
// Beyond this number, the names of objects that end before the current position are forgotten.
const maxKnownNames = 10_000;
const namesAtOnce = 5_000;

/**
 * Reads each request of a range once, ordered by position. If two objects hold the same request, reads it from the
 * first. Objects may be merged during the reading. Misses requests that are written meanwhile with times before its
 * position. Skips broken objects. Throws `ArchiveError` if the archive fails.
 */
export class CaptureReader implements AsyncIterable<CaptureEntry> {
  /** Number of parts that could not be read, and of requests in them. */
  readonly skipped = { parts: 0, requests: 0 };
  readonly #archive: Archive;
  readonly #capture: string;
  readonly #toMs: number;
  readonly #maxHeldBytes: number;
  readonly #onSkip: (part: SkippedPart) => void;
  readonly #sources = new MinHeap<Source>((a, b) => comparePositions(a.key, b.key));
  /** Objects that were listed, with the time of their last request. */
  readonly #known = new Map<string, number>();
  /** Position of the last request; the next one must be after it. */
  #last: CapturePosition;
  /** Objects that begin after the current position, ordered by their first request. */
  #listed: CaptureObject[] = [];
  /** All objects that begin before this time were listed. */
  #listedToMs: number;
  #listedAll = false;
  #heldBytes = 0;
  #mostHeldBytes = 0;

  constructor(archive: Archive, capture: string, options: CaptureReaderOptions) {
    const { fromMs, toMs, after, maxHeldBytes = defaultHeldBytes, onSkip = () => {} } = options;
    this.#archive = archive;
    this.#capture = capture;
    this.#toMs = toMs;
    this.#maxHeldBytes = maxHeldBytes;
    this.#onSkip = onSkip;
    const start = startOf(Math.max(0, fromMs));
    this.#last = after && comparePositions(after, start) > 0 ? after : start;
    this.#listedToMs = this.#last.capturedAtMs;
  }

  /** Bytes of packs that are held for later. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Maximum of `heldBytes` so far. */
  get mostHeldBytes(): number {
    return this.#mostHeldBytes;
  }

  /** Iterate only once per reader: to continue, create a reader with `after`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<CaptureEntry> {
    for (;;) {
      await this.#takeListed();
      const source = this.#sources.pop();
      if (!source || source.key.capturedAtMs >= this.#toMs) return;
      if (source.kind === "object") await this.#openObject(source.object, source.nextPack);
      else if (source.kind === "pack") this.#openPack(source.object, source.pack);
      else {
        const { open, at, key } = source;
        this.#advance(open, at + 1);
        if (comparePositions(key, this.#last) <= 0) continue;
        this.#last = key;
        yield { position: key, request: open.requests[at], pack: open.pack };
      }
    }
  }

  /**
   * Lists the next objects. An object that was merged before it was listed is now part of one that may begin earlier,
   * so the listing looks back. A listing is not a snapshot: it is repeated until it finds no new object.
   */
  async #list(): Promise<void> {
    const found = new Map<string, CaptureObject>();
    let toMs = this.#toMs;
    for (let before = -1; before < found.size; ) {
      before = found.size;
      for await (const object of listCapture(this.#archive, this.#capture, { fromMs: this.#listedToMs, toMs })) {
        if (this.#known.has(object.name)) continue;
        found.set(object.name, object);
        if (before > 0 || found.size < namesAtOnce) continue;
        toMs = object.firstMs + 1;
        break;
      }
    }
    this.#listed = [...found.values()].sort((a, b) => a.firstMs - b.firstMs);
    this.#listedToMs = Math.max(this.#listedToMs, this.#listed.at(-1)?.firstMs ?? 0);
    this.#listedAll = found.size === 0;
  }

  /** Adds the listed objects that may hold the next request; for later ones only the names are kept. */
  async #takeListed(): Promise<void> {
    for (;;) {
      if (this.#listed.length === 0 && !this.#listedAll) await this.#list();
      const object = this.#listed[0];
      const next = this.#sources.peek();
      if (!object || (next && next.key.capturedAtMs < object.firstMs)) return;
      this.#listed.shift();
      this.#add(object);
    }
  }

  #add(object: CaptureObject): void {
    if (this.#known.has(object.name)) return;
    if (this.#known.size >= maxKnownNames) {
      for (const [name, lastMs] of this.#known) if (lastMs < this.#last.capturedAtMs) this.#known.delete(name);
    }
    this.#known.set(object.name, object.lastMs);
    this.#sources.push({ kind: "object", key: startOf(object.firstMs), object, nextPack: 0 });
  }

  /**
   * Reads an object and holds as many of its next packs as fit into memory; the object is read again for the others.
   */
  async #openObject(object: CaptureObject, nextPack: number): Promise<void> {
    const packs = await this.#readObject(object);
    if (!packs) return;
    // Uses only half of the free memory: other objects may begin before this one ends.
    let freeBytes = (this.#maxHeldBytes - this.#heldBytes) / 2;
    for (let i = nextPack; i < packs.length; i++) {
      const pack = packs[i];
      if (pack.lastMs < this.#last.capturedAtMs) continue;
      if (pack.firstMs >= this.#toMs) return;
      if (pack.content.length > freeBytes && i > nextPack) {
        this.#sources.push({ kind: "object", key: startOf(pack.firstMs), object, nextPack: i });
        return;
      }
      freeBytes -= pack.content.length;
      this.#heldBytes += pack.content.length;
      this.#mostHeldBytes = Math.max(this.#mostHeldBytes, this.#heldBytes);
      // Copied, because a view would keep the whole object in memory.
      const held = { ...pack, content: Buffer.from(pack.content) };
      this.#sources.push({ kind: "pack", key: startOf(pack.firstMs), object, pack: held });
    }
  }

  /** Returns the packs ordered by their first request; undefined if the object is skipped. */
  async #readObject(object: CaptureObject): Promise<readonly StoredPack[] | undefined> {
    const bytes = await this.#get(object);
    if (!bytes) return undefined;
    const packs = bytes instanceof ArchiveError ? bytes : openNamedObject(object, bytes);
    if (packs instanceof Error) return this.#skip(object.name, object.requests, packs.message);
    return packs.toSorted((a, b) => a.firstMs - b.firstMs);
  }

  /** If the object is gone, adds the objects that may hold its requests now and returns undefined. */
  async #get(object: CaptureObject): Promise<Uint8Array | ArchiveError | undefined> {
    try {
      const bytes = await this.#archive.get(object.name);
      if (bytes) return bytes;
    } catch (error) {
      if (error instanceof ArchiveError && error.code === "TOO_BIG") return error;
      throw error;
    }
    let merged = false;
    const span = { fromMs: object.firstMs, toMs: object.lastMs + 1 };
    for await (const other of listCapture(this.#archive, this.#capture, span)) {
      if (other.name === object.name) continue;
      merged = true;
      this.#add(other);
    }
    if (!merged) this.#skip(object.name, object.requests, "it was deleted while the capture was being read");
    return undefined;
  }

  #openPack(object: CaptureObject, stored: StoredPack): void {
    const heldBytes = stored.content.length;
    const pack = decodeStoredPack(stored);
    if (pack instanceof DecodeError) {
      this.#heldBytes -= heldBytes;
      this.#skip(object.name, stored.requests, `a pack in it is broken: ${pack.message}`);
      return;
    }
    const requests = pack.requests.toSorted((a, b) => a.capturedAtMs - b.capturedAtMs || a.index - b.index);
    this.#advance({ pack, requests, heldBytes }, 0);
  }

  /** Queues the pack at the position of its next request. */
  #advance(open: OpenPack, at: number): void {
    const { pack, requests, heldBytes } = open;
    if (at === requests.length) {
      this.#heldBytes -= heldBytes;
      return;
    }
    const { capturedAtMs, index } = requests[at];
    const key = { capturedAtMs, sequence: pack.sequence, packId: pack.id, index };
    this.#sources.push({ kind: "requests", key, open, at });
  }

  #skip(name: string, requests: number, reason: string): undefined {
    this.skipped.parts++;
    this.skipped.requests += requests;
    this.#onSkip({ name, requests, reason });
    return undefined;
  }
}
