const firstBytes = 16 * 1024;
const doubledBytes = 256 * 1024;
const overheadBytes = 256;

/**
 * Makes room for `neededBytes` and returns a buffer with the first `usedBytes` of `buffer`. It grows with the bytes that
 * arrive and not with the announced ones. Above 256 KiB it has at most four times the bytes that it needs, of which the system
 * provides only what is written: the garbage collector runs by what was allocated, and a peer that begins messages and aborts
 * them would otherwise keep it busy. Not from Node's pool: a few bytes would keep 64 KiB of it.
 */
export function growBuffer(buffer: Buffer, usedBytes: number, neededBytes: number, mostBytes: number): Buffer {
  const factor = neededBytes > doubledBytes ? 4 : 2;
  const wanted = Math.max(neededBytes, buffer.length * factor, firstBytes);
  const grown = Buffer.allocUnsafeSlow(Math.min(mostBytes, wanted));
  buffer.copy(grown, 0, 0, usedBytes);
  return grown;
}

/** The memory that a grown buffer keeps, with what Node needs for it. */
export function retainedBytes(buffer: Buffer, usedBytes: number): number {
  return overheadBytes + (buffer.length <= doubledBytes ? buffer.length : Math.max(doubledBytes, usedBytes));
}
