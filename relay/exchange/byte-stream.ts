import { createGunzip } from "node:zlib";

export type ByteStream = AsyncIterable<Uint8Array>;

// gzip expands at most about 1,000 times: one piece becomes up to 16 MiB, which is in memory at once.
const pieceBytes = 16 * 1024;
// zlib drops what it has not yet given when it meets damage: this much at most. Less would take several times the time.
const outputBytes = 4 * 1024;

/** Returns the first bytes of a stream (fewer if it is shorter), and the whole stream with those bytes still in it. */
export async function peek(
  stream: ByteStream,
  bytes: number,
): Promise<{ readonly head: Buffer; readonly all: AsyncIterableIterator<Uint8Array> }> {
  const iterator = stream[Symbol.asyncIterator]();
  const taken: Uint8Array[] = [];
  let takenBytes = 0;
  while (takenBytes < bytes) {
    const next = await iterator.next();
    if (next.done) break;
    taken.push(next.value);
    takenBytes += next.value.length;
  }
  const head = Buffer.concat(taken);
  let unread: Buffer | undefined = head;
  // A generator would not close the stream if it is ended before it started.
  const all: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => all,
    next: async () => {
      if (!unread) return iterator.next();
      const value = unread;
      unread = undefined;
      return { done: false, value };
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
  return { head: head.subarray(0, bytes), all };
}

/** Whether the first two bytes are gzip's magic number (RFC 1952 2.3.1). */
export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/**
 * Unzips gzip data, which may have several members, and zeros behind each of them. If the data is cut off, calls `onDamage` and
 * ends after the last readable byte; if it is damaged, ends up to 4 KiB before the damage.
 */
export async function* gunzip(stream: ByteStream, onDamage: (reason: string) => void): AsyncGenerator<Uint8Array> {
  let members: Unzipper | undefined;
  try {
    for await (const chunk of stream) {
      for (let at = 0; at < chunk.length; ) {
        if (!members) {
          while (chunk[at] === 0) at++;
          if (at === chunk.length) break;
          members = new Unzipper();
        }
        const piece = chunk.subarray(at, at + pieceBytes);
        const { content, readBytes, failed } = await members.write(piece);
        yield* content;
        if (failed) return onDamage("the gzip data is damaged");
        at += readBytes;
        if (readBytes === piece.length) continue;
        // zlib reads nothing behind a zero, and would ignore members there.
        members.close();
        members = undefined;
      }
    }
    if (!members) return;
    const { content, failed } = await members.end();
    yield* content;
    if (failed) onDamage("the gzip data is cut off");
  } finally {
    members?.close();
  }
}

/** Unzips members up to a zero behind one of them. */
class Unzipper {
  // No high-water mark: the output is read after every write, and a full stream would never call the write's callback.
  readonly #zip = createGunzip({ chunkSize: outputBytes, readableHighWaterMark: Number.MAX_SAFE_INTEGER } as object);
  #content: Uint8Array[] = [];
  #settle = (_failed: boolean): void => {};

  constructor() {
    this.#zip.on("data", (content) => this.#content.push(content));
    this.#zip.on("end", () => this.#settle(false));
    // Node may emit "error" instead of calling the write's callback.
    this.#zip.on("error", () => this.#settle(true));
  }

  async write(piece: Uint8Array) {
    const before = this.#zip.bytesWritten;
    const failed = await this.#settled((settle) => this.#zip.write(piece, (error) => settle(Boolean(error))));
    return { content: this.#take(), readBytes: this.#zip.bytesWritten - before, failed };
  }

  async end() {
    const failed = await this.#settled(() => this.#zip.end());
    return { content: this.#take(), failed };
  }

  close(): void {
    this.#zip.destroy();
  }

  #settled(start: (settle: (failed: boolean) => void) => void): Promise<boolean> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      start(resolve);
    });
  }

  #take(): readonly Uint8Array[] {
    const content = this.#content;
    this.#content = [];
    return content;
  }
}
