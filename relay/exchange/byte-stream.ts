import { createGunzip } from "node:zlib";

export type ByteStream = AsyncIterable<Uint8Array>;

// One piece of gzip becomes a thousand times as many bytes at most, and all of them are in memory at once.
const pieceBytes = 16 * 1024;

/** The first bytes of a stream (fewer where it is shorter), and the stream as if nobody had looked. */
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
  let looked: Buffer | undefined = head;
  // No generator: one that has not begun would not close the stream when it is ended.
  const all: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => all,
    next: async () => {
      if (!looked) return iterator.next();
      const value = looked;
      looked = undefined;
      return { done: false, value };
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
  return { head: head.subarray(0, bytes), all };
}

/** Whether the first two bytes are those of gzip (RFC 1952 2.3.1). */
export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/**
 * The content of gzip, several members one after the other included. Where it is damaged or cut off, `onDamage` is told and
 * the stream ends after what could be read.
 */
export async function* gunzip(stream: ByteStream, onDamage: (reason: string) => void): AsyncGenerator<Uint8Array> {
  // No limit on what waits to be read: it is read after every piece, and a stream that is full would never call back.
  const zip = createGunzip({ readableHighWaterMark: Number.MAX_SAFE_INTEGER } as object);
  let settle = (_failed: boolean) => {};
  // It may come instead of the callback.
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
