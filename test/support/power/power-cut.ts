import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** One call of the recorded process, see recorder.c. */
interface Entry {
  /** Its place in the order of calls. */
  readonly at: number;
  readonly kind: string;
  readonly thread: number;
  readonly a: number;
  readonly b: number;
  readonly bytes: Buffer;
}

export type Random = () => number;

/** What a process wrote to a directory, call by call, and what a power failure after any call would leave of it. */
export class Recording {
  readonly #root: string;
  readonly #entries: readonly Entry[];

  constructor(root: string, file: string) {
    this.#root = root;
    this.#entries = readEntries(readFileSync(file));
  }

  get length(): number {
    return this.#entries.length;
  }

  /** The marks that the process made before a call. */
  marks(until: number): readonly string[] {
    const made = this.#entries.slice(0, until).filter(({ kind }) => kind === "M");
    return made.map(({ bytes }) => bytes.toString());
  }

  /** The number of each call that made a mark. */
  get markedAt(): readonly number[] {
    return this.#entries.flatMap(({ kind }, i) => (kind === "M" ? [i] : []));
  }

  /**
   * Visits power failures before the given calls, which are in order. `leave` writes to an empty directory what is left: all that
   * was synced, and of the rest some writes, in any combination, and the first changes of directories. Chance decides which.
   */
  async cut(
    calls: readonly number[],
    random: Random,
    visit: (until: number, leave: (directory: string) => void) => Promise<void>,
  ): Promise<void> {
    const disk = new Disk(this.#root);
    let at = 0;
    for (const until of calls) {
      for (; at < until; at++) disk.apply(this.#entries[at]);
      await visit(until, (directory) => disk.leave(directory, random));
    }
  }
}

interface Inode {
  readonly directory: boolean;
  readonly synced: Content;
  /** Since the last sync. */
  pending: Entry[];
}

interface Change {
  readonly at: number;
  readonly apply: (entries: Map<string, Inode>) => void;
  /** The directories whose sync makes it durable. */
  readonly parent: string;
}

class Disk {
  readonly #root: string;
  // A number is used again after its file was removed: by the number, the newest.
  readonly #inodes = new Map<number, Inode>();
  /** As the process sees them, and as a power failure would leave them. */
  readonly #entries = new Map<string, Inode>();
  readonly #synced = new Map<string, Inode>();
  #changes: Change[] = [];
  /** By thread: what a sync that has begun covers. */
  readonly #syncs = new Map<number, { readonly inode: Inode; readonly at: number }>();

  constructor(root: string) {
    this.#root = root;
  }

  apply(entry: Entry): void {
    const { at, kind, a, b, thread } = entry;
    const path = entry.bytes.toString();
    switch (kind) {
      case "O":
        // The directory itself was there before the recording.
        if (!this.#inodes.has(a)) {
          const inode: Inode = { directory: true, synced: new Content(), pending: [] };
          this.#inodes.set(a, inode);
          this.#entries.set(path, inode);
          this.#synced.set(path, inode);
        }
        break;
      case "L": {
        const known = b === 2 ? this.#inodes.get(a) : undefined;
        const inode: Inode = known ?? { directory: b === 1, synced: new Content(), pending: [] };
        this.#inodes.set(a, inode);
        this.#change(at, dirname(path), (entries) => entries.set(path, inode));
        break;
      }
      case "R": {
        const [from, to] = path.split("\0");
        this.#change(at, dirname(to), (entries) => {
          const inode = entries.get(from);
          if (!inode) return;
          entries.delete(from);
          entries.set(to, inode);
        });
        break;
      }
      case "U":
        this.#change(at, dirname(path), (entries) => entries.delete(path));
        break;
      case "W":
      case "T":
        this.#inodes.get(a)?.pending.push(entry);
        break;
      case "B": {
        const inode = this.#inodes.get(a);
        if (!inode) throw new Error(`a sync of inode ${a}, which nobody has opened`);
        this.#syncs.set(thread, { inode, at });
        break;
      }
      case "E":
        this.#sync(thread);
        break;
    }
  }

  leave(directory: string, random: Random): void {
    // A file system with a journal keeps the order of changes; how many of them it has written is chance.
    const kept = pick(random, [0, this.#changes.length, Math.floor(random() * (this.#changes.length + 1))]);
    const left = new Map(this.#synced);
    for (const { apply } of this.#changes.slice(0, kept)) apply(left);
    const files = [...left].sort(([one], [other]) => (one < other ? -1 : 1));
    for (const [path, inode] of files) {
      const place = join(directory, path.slice(this.#root.length));
      if (inode.directory) mkdirSync(place, { recursive: true });
      else if (this.#isReachable(path, left)) writeFileSync(place, contentAfter(inode, random));
    }
  }

  #isReachable(path: string, left: ReadonlyMap<string, Inode>): boolean {
    const parent = dirname(path);
    return parent === this.#root || (left.has(parent) && this.#isReachable(parent, left));
  }

  #change(at: number, parent: string, apply: Change["apply"]): void {
    apply(this.#entries);
    this.#changes.push({ at, parent, apply });
  }

  #sync(thread: number): void {
    const sync = this.#syncs.get(thread);
    if (!sync) throw new Error("a sync has ended that never began");
    const { inode, at } = sync;
    // What was written while it ran may or may not be covered.
    for (const entry of inode.pending) if (entry.at < at) inode.synced.apply(entry);
    inode.pending = inode.pending.filter((entry) => entry.at > at);
    if (!inode.directory) return;
    const path = [...this.#entries].find(([, each]) => each === inode)?.[0];
    const isDurable = (change: Change) => change.at < at && change.parent === path;
    for (const change of this.#changes) if (isDurable(change)) change.apply(this.#synced);
    this.#changes = this.#changes.filter((change) => !isDurable(change));
  }
}

/** The bytes of a file. */
class Content {
  #bytes = Buffer.alloc(0);
  #length = 0;

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  apply({ kind, b, bytes }: Entry): void {
    const end = kind === "T" ? b : b + bytes.length;
    if (end > this.#bytes.length) this.#bytes = Buffer.concat([this.bytes, Buffer.alloc(2 * end - this.#length)]);
    if (kind === "T") this.#bytes.fill(0, end, Math.max(end, this.#length));
    else bytes.copy(this.#bytes, b);
    this.#length = kind === "T" ? end : Math.max(this.#length, end);
  }

  copy(): Content {
    const copy = new Content();
    copy.#bytes = Buffer.from(this.bytes);
    copy.#length = this.#length;
    return copy;
  }
}

const sectorBytes = 4_096;

function contentAfter({ synced, pending }: Inode, random: Random): Buffer {
  const kept = pick(random, [
    () => [],
    () => pending,
    () => pending.slice(0, Math.floor(random() * (pending.length + 1))),
    () => pending.filter(() => random() < 0.5),
    () => pending.map((entry) => (random() < 0.7 ? entry : tear(entry, random))),
  ])();
  const content = synced.copy();
  for (const entry of kept) content.apply(entry);
  return content.bytes;
}

/** Only the first sectors of a write. */
function tear(entry: Entry, random: Random): Entry {
  const sectors = Math.floor(random() * (entry.bytes.length / sectorBytes));
  return entry.kind === "W" ? { ...entry, bytes: entry.bytes.subarray(0, sectors * sectorBytes) } : entry;
}

function pick<T>(random: Random, choices: readonly T[]): T {
  return choices[Math.floor(random() * choices.length)];
}

function readEntries(log: Buffer): readonly Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at + 25 <= log.length; ) {
    const length = log.readUInt32LE(at + 21);
    entries.push({
      at: entries.length,
      kind: String.fromCharCode(log[at]),
      thread: log.readUInt32LE(at + 1),
      a: Number(log.readBigUInt64LE(at + 5)),
      b: Number(log.readBigUInt64LE(at + 13)),
      bytes: log.subarray(at + 25, at + 25 + length),
    });
    at += 25 + length;
  }
  return entries;
}
