import { randomBytes } from "node:crypto";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { StateError } from "../port.ts";
import { Sums } from "./ledger-sums.ts";
import type { Change, TableClient } from "./table-client.ts";
import { tallyLayout } from "./tally-layout.ts";

export interface WriterTallyOptions {
  readonly client: TableClient;
  /** In milliseconds since 1970. */
  readonly now: () => number;
  /** Minimum time between the starts of two writes; operations that are announced in between share a write. */
  readonly everyMs: number;
}

/** What an operation will change: the page, and the additions to the sums. */
export interface Intent {
  readonly page: string;
  readonly sums: Sums;
}

/** The number of the operation, once it may be made; or why it is not to be made. */
export type Announced = number | "needless" | "folded";

/**
 * The part of the ledger that one process has added: the sums of the operations that were made, and the announced operations,
 * which may have been made. An operation is first announced here, then made on the item of its page, then counted here with
 * the next write. So the sums of all tallies are exact at any time, whichever process dies.
 */
export class WriterTally {
  readonly writer = randomBytes(6).toString("base64url");
  readonly #options: WriterTallyOptions;
  readonly #sums = new Sums();
  readonly #announced = new Map<number, Announcement>();
  readonly #waiting: Pending[] = [];
  readonly #drained = Promise.withResolvers<void>();
  #announcedBytes = 0;
  #sumsBytes = 0;
  #operations = 0;
  #generation = 0;
  #attempts = 0;
  #nextWriteMs = Number.NEGATIVE_INFINITY;
  #retired = false;
  #gone = false;
  #running = false;
  #idle: Promise<void> = Promise.resolve();

  constructor(options: WriterTallyOptions) {
    this.#options = options;
  }

  /**
   * True if the sums have so many names that each write costs too much. The process then begins a new tally, which has only the
   * names in use.
   */
  get full(): boolean {
    return this.#sumsBytes > sumsBytesMost || (this.#sumsBytes > sumsBytesMuch && this.#attempts >= writesLeast);
  }

  /**
   * Announces an operation with the next write. `draw` is called just before that: whatever the operation can include by then
   * shares its write. Undefined from `draw` means that nothing has to be changed. The result `folded` means that a new tally
   * is needed. If this throws `StateError`, the operation must not be made.
   */
  announce(draw: () => Intent | undefined): Promise<Announced> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ draw, sinceMs: performance.now(), resolve, reject });
      this.#start();
    });
  }

  /** Notes that an operation was made. */
  count(operation: number): void {
    const announced = this.#announced.get(operation);
    if (announced) this.#sums.add(announced.sums);
    this.drop(operation);
  }

  /** Notes that an operation was not made and never will be. */
  drop(operation: number): void {
    this.#announcedBytes -= this.#announced.get(operation)?.bytes ?? 0;
    this.#announced.delete(operation);
    this.#continue();
  }

  /** Notes that it is unknown whether an operation was made. It stays announced, but frees its room for others. */
  setAside(operation: number): void {
    const announced = this.#announced.get(operation);
    if (!announced) return;
    this.#announcedBytes -= announced.bytes;
    this.#announced.set(operation, { ...announced, bytes: 0 });
    this.#continue();
  }

  /** Closes the tally as soon as all its operations are counted. No operation may be announced after this. */
  async retire(): Promise<void> {
    this.#retired = true;
    this.#continue();
    await this.#drained.promise;
    await this.close();
  }

  /** Writes the tally for the last time, if it was ever written. Throws `StateError`; even then nothing is lost. */
  async close(): Promise<void> {
    await this.#idle;
    if (this.#attempts > 0 && !this.#gone) await this.#write({ ended: this.#announced.size === 0 });
  }

  #continue(): void {
    if (this.#retired && this.#announced.size + this.#waiting.length === 0) this.#drained.resolve();
    this.#start();
  }

  #start(): void {
    if (this.#running || this.#waiting.length === 0) return;
    this.#running = true;
    this.#idle = this.#run();
  }

  async #run(): Promise<void> {
    // Operations that are announced in the same tick share the first write.
    await turn();
    while (await this.#writeNext());
    // Operations that did not fit wait until another one is counted.
    this.#running = false;
    this.#continue();
  }

  /** False if there is nothing to announce, or no room for it. */
  async #writeNext(): Promise<boolean> {
    const [first] = this.#waiting;
    if (!first || !this.#hasRoom) return false;
    const { everyMs } = this.#options;
    // The packs of a batch end a few milliseconds apart.
    const atMs = Math.max(this.#nextWriteMs, first.sinceMs + Math.min(lingerMs, everyMs / 2));
    const waitMs = atMs - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    const batch = this.#take();
    if (batch.length === 0) return this.#waiting.length > 0;
    this.#nextWriteMs = performance.now() + everyMs;
    try {
      const written = await this.#write({ ended: false });
      for (const { operation, resolve } of batch) resolve(written ? operation : "folded");
    } catch (error) {
      for (const { operation, reject } of batch) {
        this.#announcedBytes -= this.#announced.get(operation)?.bytes ?? 0;
        this.#announced.delete(operation);
        reject(error);
      }
    }
    return true;
  }

  get #hasRoom(): boolean {
    return this.#announced.size === 0 || this.#announcedBytes < announcedBytesMost;
  }

  /** The waiting operations that still fit into the item; at least one if none is announced. */
  #take(): Ready[] {
    const batch: Ready[] = [];
    while (this.#waiting.length > 0 && this.#hasRoom) {
      const { draw, resolve, reject } = this.#waiting.shift() as Pending;
      let intent: Intent | undefined;
      try {
        intent = draw();
      } catch (error) {
        reject(error);
        continue;
      }
      if (!intent) {
        resolve("needless");
        continue;
      }
      const operation = ++this.#operations;
      const text = JSON.stringify([operation, intent.page, intent.sums]);
      const bytes = Buffer.byteLength(text);
      this.#announced.set(operation, { sums: intent.sums, text, bytes });
      this.#announcedBytes += bytes;
      batch.push({ operation, resolve, reject });
    }
    return batch;
  }

  /** False if the tally was folded. */
  async #write({ ended }: { readonly ended: boolean }): Promise<boolean> {
    for (let tries = 0; tries < writeTriesMost && !this.#gone; tries++) {
      const generation = ++this.#attempts;
      const key = tallyLayout.keyOf(this.writer);
      const { written, item } = await this.#options.client.update(key, this.#toChange(ended));
      if (!written && (!item || item.sealed)) this.#gone = true;
      // An earlier write whose answer was lost may have arrived so late that the condition of this one failed.
      else this.#generation = written ? generation : Number(item?.generation?.N);
      if (!this.#gone && this.#generation === generation) return true;
    }
    if (this.#gone) return false;
    throw new StateError(
      `the ledger sums of this process were not written in ${writeTriesMost} attempts; this is temporary`,
    );
  }

  #toChange(ended: boolean): Change {
    const announced = Array.from(this.#announced.values(), ({ text }) => text);
    const first = this.#generation === 0;
    const sums = JSON.stringify(this.#sums);
    this.#sumsBytes = Buffer.byteLength(sums);
    return {
      update: "SET generation = :next, writtenAtMs = :now, ended = :ended, sums = :sums, announced = :announced",
      condition: first ? "attribute_not_exists(generation)" : "generation = :seen AND attribute_not_exists(sealed)",
      values: {
        ":next": { N: `${this.#attempts}` },
        ":now": { N: `${Math.floor(this.#options.now())}` },
        ":ended": { BOOL: ended },
        ":sums": { S: sums },
        ":announced": { S: `[${announced.join(",")}]` },
        ...(!first && { ":seen": { N: `${this.#generation}` } }),
      },
    };
  }
}

const lingerMs = 25;
// DynamoDB allows items of 400 KB and bills every KB with each write.
const announcedBytesMost = 64_000;
const sumsBytesMost = 200_000;
const sumsBytesMuch = 3_000;
// With a hundred targets the names in use alone need more than `sumsBytesMuch`: a new tally for each write would cost more.
const writesLeast = 16;
const writeTriesMost = 5;

interface Announcement {
  readonly sums: Sums;
  readonly text: string;
  readonly bytes: number;
}

interface Pending {
  readonly draw: () => Intent | undefined;
  readonly sinceMs: number;
  readonly resolve: (announced: Announced) => void;
  readonly reject: (error: unknown) => void;
}

interface Ready {
  readonly operation: number;
  readonly resolve: (announced: Announced) => void;
  readonly reject: (error: unknown) => void;
}
