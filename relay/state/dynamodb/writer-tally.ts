import { randomBytes } from "node:crypto";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { StateError } from "../port.ts";
import { Sums } from "./ledger-sums.ts";
import type { Change, Item, ItemKey, TableClient } from "./table-client.ts";

/** The partition of all tallies; the sort key is the writer. */
export const tallyPartition = "tally";

/** An operation that may have been made: the item of its pack tells. */
interface Announcement {
  readonly operation: number;
  readonly pack: string;
  readonly sums: Sums;
}

/** A tally as it stands in the table. */
export interface StoredTally {
  readonly writer: string;
  /** Another one with each write. */
  readonly generation: number;
  readonly writtenAtMs: number;
  /** Its writer has closed it. */
  readonly ended: boolean;
  /** It is being folded: its writer can write it no more. */
  readonly sealed: boolean;
  readonly sums: Sums;
  readonly announced: readonly Announcement[];
}

export function toTallyKey(writer: string): ItemKey {
  return { pk: tallyPartition, sk: writer };
}

export function toStoredTally(item: Item): StoredTally {
  const announced = JSON.parse(String(item.announced.S)) as [number, string, Parameters<typeof Sums.parse>[0]][];
  return {
    writer: String(item.sk.S),
    generation: Number(item.generation.N),
    writtenAtMs: Number(item.writtenAtMs.N),
    ended: item.ended?.BOOL === true,
    sealed: item.sealed?.BOOL === true,
    sums: Sums.parse(JSON.parse(String(item.sums.S))),
    announced: announced.map(([operation, pack, sums]) => ({ operation, pack, sums: Sums.parse(sums) })),
  };
}

export interface WriterTallyOptions {
  readonly client: TableClient;
  /** In milliseconds since 1970. */
  readonly now: () => number;
  /** From the beginning of one write to that of the next, at least: what is announced in between shares a write. */
  readonly everyMs: number;
}

/**
 * What one process has added to the ledger: sums of the operations that were made, and those that may have been. An
 * operation is announced here first, then made on the item of its pack, then counted here with whatever is written next.
 * So the sums of all tallies are right at any time, whoever dies when.
 */
export class WriterTally {
  readonly writer = randomBytes(9).toString("base64url");
  readonly #options: WriterTallyOptions;
  readonly #sums = new Sums();
  readonly #announced = new Map<number, Announced>();
  readonly #waiting: Wish[] = [];
  #announcedBytes = 0;
  #sumsBytes = 0;
  #operations = 0;
  #generation = 0;
  #attempts = 0;
  #nextWriteMs = Number.NEGATIVE_INFINITY;
  #gone = false;
  #running = false;
  #idle: Promise<void> = Promise.resolve();

  constructor(options: WriterTallyOptions) {
    this.#options = options;
  }

  /** Has met so many names that another one had better take its place, which meets those of today only. */
  get full(): boolean {
    return this.#sumsBytes > sumsBytesMost;
  }

  /**
   * Resolves to the number of the operation when it may be made; to undefined where the tally was folded, and another one
   * has to take its place. Throws `StateError`: then it must not be made.
   */
  announce(pack: string, sums: Sums): Promise<number | undefined> {
    const operation = ++this.#operations;
    const text = JSON.stringify([operation, pack, sums]);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operation, sums, text, bytes: Buffer.byteLength(text), resolve, reject });
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
    this.#start();
  }

  /** Notes that nobody knows whether an operation was made: it stays announced, and nobody waits for its place. */
  setAside(operation: number): void {
    const announced = this.#announced.get(operation);
    if (!announced) return;
    this.#announcedBytes -= announced.bytes;
    this.#announced.set(operation, { ...announced, bytes: 0 });
    this.#start();
  }

  /** Writes it for the last time, if ever it was written. Throws `StateError`, and nothing is lost by that. */
  async close(): Promise<void> {
    await this.#idle;
    if (this.#attempts > 0 && !this.#gone) await this.#write({ ended: this.#announced.size === 0 });
  }

  #start(): void {
    if (this.#running || this.#waiting.length === 0) return;
    this.#running = true;
    this.#idle = this.#run();
  }

  async #run(): Promise<void> {
    // Who asks in the same moment takes part in the first write.
    await turn();
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      const waitMs = this.#nextWriteMs - performance.now();
      if (waitMs > 0) {
        await sleep(waitMs);
        batch.push(...this.#take());
      }
      this.#nextWriteMs = performance.now() + this.#options.everyMs;
      try {
        const written = await this.#write({ ended: false });
        for (const { operation, resolve } of batch) resolve(written ? operation : undefined);
      } catch (error) {
        for (const { operation, reject } of batch) {
          this.drop(operation);
          reject(error);
        }
      }
    }
    // What does not fit any more waits until an operation is counted.
    this.#running = false;
  }

  /** Those of who wait that still fit, at least one where there is none. */
  #take(): Wish[] {
    const batch: Wish[] = [];
    for (let wish = this.#waiting[0]; wish; wish = this.#waiting[0]) {
      if (this.#announced.size > 0 && this.#announcedBytes + wish.bytes > announcedBytesMost) break;
      this.#waiting.shift();
      this.#announced.set(wish.operation, wish);
      this.#announcedBytes += wish.bytes;
      batch.push(wish);
    }
    return batch;
  }

  /** False where it was folded. */
  async #write({ ended }: { readonly ended: boolean }): Promise<boolean> {
    for (let tries = 0; tries < writeTriesMost && !this.#gone; tries++) {
      const generation = ++this.#attempts;
      const { written, item } = await this.#options.client.update(toTallyKey(this.writer), this.#toChange(ended));
      if (!written && (!item || item.sealed)) this.#gone = true;
      // An earlier write whose answer was lost may have come so late that it stood in the way of this one.
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

// An item may have 400 KB, and each KB is billed with each write.
const announcedBytesMost = 64_000;
const sumsBytesMost = 200_000;
const writeTriesMost = 5;

interface Announced {
  readonly operation: number;
  readonly sums: Sums;
  readonly text: string;
  readonly bytes: number;
}

interface Wish extends Announced {
  readonly resolve: (operation: number | undefined) => void;
  readonly reject: (error: unknown) => void;
}
