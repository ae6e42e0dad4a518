import { type ArchivePlace, openArchive } from "./archive-place.ts";
import type { Archive, ArchiveEntry, ArchiveRange, OpenArchive, PutResult } from "./port.ts";

/**
 * An archive that is opened on first use, and again after a failure. So a process can start before its disk is mounted,
 * and uses the disk once it is mounted.
 */
export class LazyArchive implements OpenArchive {
  readonly #place: ArchivePlace;
  #opened: Promise<OpenArchive> | undefined;

  constructor(place: ArchivePlace) {
    this.#place = place;
  }

  async put(name: string, bytes: Uint8Array): Promise<PutResult> {
    return this.#use((archive) => archive.put(name, bytes));
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    return this.#use((archive) => archive.get(name));
  }

  async *list(range: ArchiveRange): AsyncGenerator<ArchiveEntry> {
    const listing = await this.#use(async (archive) => archive.list(range));
    yield* listing;
  }

  async delete(names: readonly string[]): Promise<void> {
    return this.#use((archive) => archive.delete(names));
  }

  close(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.then((archive) => archive.close()).catch(() => {});
  }

  async #use<T>(work: (archive: Archive) => Promise<T>): Promise<T> {
    this.#opened ??= openArchive(this.#place);
    const opened = this.#opened;
    try {
      return await work(await opened);
    } catch (error) {
      // An S3 client recovers by itself, and other calls may be using it now.
      if (this.#place.kind === "directory" && this.#opened === opened) this.#opened = undefined;
      throw error;
    }
  }
}
