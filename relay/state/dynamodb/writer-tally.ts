import { randomBytes } from "node:crypto";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { StateError } from "../port.ts";
import { Sums } from "./ledger-sums.ts";
import type { Change, Item, ItemKey, TableClient } from "./table-client.ts";

/** The partition of all tallies; the sort key is the id of the writer. */
export const tallyPartition = "tally";

/** An operation that may have been made; the item of its pack tells whether it was. */
interface Announcement {
  readonly operation: number;
  readonly pack: string;
  readonly sums: Sums;
}

/** A tally as read from the table. */
export interface StoredTally {
  readonly writer: string;
  /** Changes with each write. */
  readonly generation: number;
  readonly writtenAtMs: number;
  /** Its writer has closed it. */
  readonly ended: boolean;
  /** It is being folded: its writer can no longer write it. */
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
  /** Minimum time between the starts of two writes; operations that are announced in between share a write. */
  readonly everyMs: number;
}

/**
 * The part of the ledger that one process has added: the sums of the operations that were made, and the announced operations,
 * which may have been made. An operation is first announced here, then made on the item of its pack, then counted here with
 * the next write. So the sums of all tallies are exact at any time, whichever process dies.
 */
export class WriterTally {
  readonly writer = randomBytes(9).toString("base64url");
  readonly #options: WriterTallyOptions;
  readonly #sums = new Sums();
  readonly #announced = new Map<number, Announced>();
  readonly #waiting: Pending[] = [];
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

  /** True if the sums have too many names. The process then begins a new tally, which has only the names in use. */
  get full(): boolean {
    return this.#sumsBytes > sumsBytesMost;
  }

  /**
   * Resolves to the number of the operation once it may be made, or to undefined if the tally was folded and a new one is
   * needed. If this throws `StateError`, the operation must not be made.
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

  /** Notes that it is unknown whether an operation was made. It stays announced, but frees its room for others. */
  setAside(operation: number): void {
    const announced = this.#announced.get(operation);
    if (!announced) return;
    this.#announcedBytes -= announced.bytes;
    this.#announced.set(operation, { ...announced, bytes: 0 });
    this.#start();
  }

  /** Writes the tally for the last time, if it was ever written. Throws `StateError`; even then nothing is lost. */
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
    // Operations that are announced in the same tick share the first write.
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
    // Operations that did not fit wait until another one is counted.
    this.#running = false;
  }

  /** The waiting operations that still fit into the item; at least one if none is announced. */
  #take(): Pending[] {
    const batch: Pending[] = [];
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (this.#announced.size > 0 && this.#announcedBytes + next.bytes > announcedBytesMost) break;
      this.#waiting.shift();
      this.#announced.set(next.operation, next);
      this.#announcedBytes += next.bytes;
      batch.push(next);
    }
    return batch;
  }

  /** False if the tally was folded. */
  async #write({ ended }: { readonly ended: boolean }): Promise<boolean> {
    for (let tries = 0; tries < writeTriesMost && !this.#gone; tries++) {
      const generation = ++this.#attempts;
      const { written, item } = await this.#options.client.update(toTallyKey(this.writer), this.#toChange(ended));
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

// DynamoDB allows items of 400 KB and bills every KB with each write.
const announcedBytesMost = 64_000;
const sumsBytesMost = 200_000;
const writeTriesMost = 5;

interface Announced {
  readonly operation: number;
  readonly sums: Sums;
  readonly text: string;
  readonly bytes: number;
}

interface Pending extends Announced {
  readonly resolve: (operation: number | undefined) => void;
  readonly reject: (error: unknown) => void;
}
