/** What one connection holds. */
export interface Holder {
  /** What it holds now; less than it last said if its peer has read since. */
  readonly heldBytes: number;
  /** Ends the connection and frees what it holds, which was `bytes`. */
  evict(bytes: number): void;
}

interface Entry {
  readonly holder: Holder;
  bytes: number;
  /** Its place in the heap. */
  at: number;
}

/**
 * The memory that all connections of a process hold together: half-received frames and messages, and answers that their peers
 * have not read. If it exceeds the limit, the holder of most is evicted, until the rest fits.
 */
export class HeldBytes {
  readonly limitBytes: number;
  readonly #entries = new Map<Holder, Entry>();
  /** A heap: no entry has more bytes than its parent, whose index is half of its own. Peers change what they hold with every chunk. */
  readonly #heap: Entry[] = [];
  #total = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get total(): number {
    return this.#total;
  }

  /** Says what `holder` holds from now on; nothing after it was evicted. */
  hold(holder: Holder, bytes: number): void {
    this.#set(holder, bytes);
    while (this.#total > this.limitBytes) {
      const [{ holder: most, bytes: before }] = this.#heap;
      const now = most.heldBytes;
      this.#set(most, now < before ? now : 0);
      if (now >= before) most.evict(now);
    }
  }

  #set(holder: Holder, bytes: number): void {
    const entry = this.#entries.get(holder);
    if (entry === undefined) {
      if (bytes === 0) return;
      const added = { holder, bytes, at: this.#heap.length };
      this.#entries.set(holder, added);
      this.#heap.push(added);
      this.#total += bytes;
      this.#rise(added);
      return;
    }
    this.#total += bytes - entry.bytes;
    if (bytes === 0) {
      this.#remove(entry);
      return;
    }
    entry.bytes = bytes;
    this.#rise(entry);
    this.#sink(entry);
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.holder);
    const last = this.#heap.pop() as Entry;
    if (last === entry) return;
    this.#place(last, entry.at);
    this.#rise(last);
    this.#sink(last);
  }

  #rise(entry: Entry): void {
    while (entry.at > 0) {
      const parent = this.#heap[(entry.at - 1) >> 1];
      if (parent.bytes >= entry.bytes) return;
      this.#swap(entry, parent);
    }
  }

  #sink(entry: Entry): void {
    for (;;) {
      const left = this.#heap[2 * entry.at + 1];
      const right = this.#heap[2 * entry.at + 2];
      const larger = right !== undefined && right.bytes > left.bytes ? right : left;
      if (larger === undefined || larger.bytes <= entry.bytes) return;
      this.#swap(entry, larger);
    }
  }

  #swap(one: Entry, other: Entry): void {
    const { at } = one;
    this.#place(one, other.at);
    this.#place(other, at);
  }

  #place(entry: Entry, at: number): void {
    entry.at = at;
    this.#heap[at] = entry;
  }
}
