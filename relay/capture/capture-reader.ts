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
  /** That it was captured in, or a share of it. */
  readonly pack: Pack;
}

/** A part of a capture that cannot be read: an object, or a pack in one. */
export interface SkippedPart {
  readonly name: string;
  /** In it, by what its name or its object says. */
  readonly requests: number;
  readonly reason: string;
}

export interface CaptureReaderOptions extends CaptureRange {
  /** Goes on behind this position, exactly. */
  readonly after?: CapturePosition | undefined;
  /**
   * Most bytes of packs that are held for later, before compression. Beside them there are in memory: one object while it
   * is opened, one pack of each further object that overlaps the moment, and the decoded requests of the packs whose time it
   * is.
   */
  readonly maxHeldBytes?: number;
  /** Told of each part that is skipped. */
  readonly onSkip?: (part: SkippedPart) => void;
}

/** What holds requests that come at `key`, or later. */
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
// Names of objects that are over are forgotten now and then.
const maxKnownNames = 10_000;
const namesAtOnce = 5_000;

/**
 * Reads the requests of a range in the order of their positions, each of them once: what two objects hold comes from the
 * first of them. Objects may be merged meanwhile; what is written behind the moment that the reader has come to is not
 * seen. A broken object is skipped, and a store that does not answer throws an `ArchiveError`.
 */
export class CaptureReader implements AsyncIterable<CaptureEntry> {
  /** Parts and their requests that could not be read. */
  readonly skipped = { parts: 0, requests: 0 };
  readonly #archive: Archive;
  readonly #capture: string;
  readonly #toMs: number;
  readonly #maxHeldBytes: number;
  readonly #onSkip: (part: SkippedPart) => void;
  readonly #sources = new MinHeap<Source>((a, b) => comparePositions(a.key, b.key));
  /** Objects that have been listed, with the time of their last request. */
  readonly #known = new Map<string, number>();
  /** All that comes has to be behind it. */
  #last: CapturePosition;
  /** Objects whose time has not come, in the order of their first requests. */
  #listed: CaptureObject[] = [];
  /** All objects that begin before have been listed. */
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

  /** Bytes of packs that are held for later now, and the most that there have been. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  get mostHeldBytes(): number {
    return this.#mostHeldBytes;
  }

  /** For one loop: another one needs a reader of its own, after the last position. */
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
   * Lists the objects that come next. One that was merged since it would have been listed is in one that may begin before
   * it, so the listing looks back. And it is no single moment: it is repeated until nothing has moved in it.
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

  /** Objects are needed when the time has come to them; until then their names wait. */
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

  /** Reads an object and holds its next packs, as many as there is room for; the others are read when it is their turn. */
  async #openObject(object: CaptureObject, nextPack: number): Promise<void> {
    const packs = await this.#readObject(object);
    if (!packs) return;
    // Half of what is free, so that there is some for the objects that come before this one is over.
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
      // A copy: a view would hold all of the object.
      const held = { ...pack, content: Buffer.from(pack.content) };
      this.#sources.push({ kind: "pack", key: startOf(pack.firstMs), object, pack: held });
    }
  }

  /** Its packs in the order of their first requests; undefined where it is skipped. */
  async #readObject(object: CaptureObject): Promise<readonly StoredPack[] | undefined> {
    const bytes = await this.#get(object);
    if (!bytes) return undefined;
    const packs = bytes instanceof ArchiveError ? bytes : openNamedObject(object, bytes);
    if (packs instanceof Error) return this.#skip(object.name, object.requests, packs.message);
    return packs.toSorted((a, b) => a.firstMs - b.firstMs);
  }

  /** Undefined where it is gone, and what holds its requests now has been added. */
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

  /** Puts the pack where its next request has its turn. */
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
