import { createGunzip } from "node:zlib";

export type ByteStream = AsyncIterable<Uint8Array>;

// gzip expands at most about 1,000 times: one piece becomes up to 16 MiB, which is in memory at once.
const pieceBytes = 16 * 1024;

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
 * Unzips gzip data, which may have several members. If the data is damaged or cut off, calls `onDamage` and ends after
 * the last readable byte.
 */
export async function* gunzip(stream: ByteStream, onDamage: (reason: string) => void): AsyncGenerator<Uint8Array> {
  // No high-water mark: the output is read after every write, and a full stream would never call the write's callback.
  const zip = createGunzip({ readableHighWaterMark: Number.MAX_SAFE_INTEGER } as object);
  let settle = (_failed: boolean) => {};
  // Node may emit "error" instead of calling the write's callback.
  zip.on("error", () => settle(true));
  try {
    for await (const chunk of stream) {
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        const failed = await new Promise<boolean>((resolve) => {
          settle = resolve;
          zip.write(chunk.subarray(at, at + pieceBytes), (error) => resolve(Boolean(error)));
        });
        const content: Buffer | null = zip.read();
        if (content) yield content;
        if (failed) return onDamage("the gzip data is damaged");
      }
    }
    const rest: Buffer[] = [];
    const failed = await new Promise<boolean>((resolve) => {
      settle = resolve;
      zip.on("data", (content) => rest.push(content));
      zip.on("end", () => resolve(false));
      zip.end();
    });
    yield* rest;
    if (failed) onDamage("the gzip data is cut off");
  } finally {
    zip.destroy();
  }
}
