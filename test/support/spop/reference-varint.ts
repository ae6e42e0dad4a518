/**
 * HAProxy's variable-length integer, literally as in SPOE.txt 3.1: slow, on bigints. The codecs are compared with it. It shares
 * no code with them.
 */
export function referenceVarint(value: bigint | number): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  if (rest < 240n) return Buffer.from([Number(rest)]);
  const bytes = [Number((rest & 0xffn) | 0xf0n)];
  rest = (rest - 240n) >> 4n;
  while (rest >= 128n) {
    bytes.push(Number((rest & 0x7fn) | 0x80n));
    rest = (rest - 128n) >> 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** The integer at `at`, and the offset after it. The bytes must be well-formed. */
export function readReferenceVarint(bytes: Uint8Array, at: number): { readonly value: bigint; readonly next: number } {
  let value = BigInt(bytes[at]);
  let next = at + 1;
  if (value < 240n) return { value, next };
  for (let shift = 4n; ; shift += 7n) {
    const byte = bytes[next++];
    value += BigInt(byte) << shift;
    if (byte < 128) return { value: BigInt.asUintN(64, value), next };
  }
}
