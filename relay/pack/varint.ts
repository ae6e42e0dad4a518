/** Longest encoding of a 64-bit value, in bytes. */
export const maxVarintBytes = 10;

/** Number of bytes that `writeVarint` writes for `value`. */
export function varintBytes(value: number): number {
  if (value < 240) return 1;
  let bytes = 2;
  for (let rest = Math.floor((value - 240) / 16); rest >= 128; rest = Math.floor((rest - 128) / 128)) bytes++;
  return bytes;
}

/**
 * Writes a non-negative integer up to 2^53 - 1 as HAProxy's variable-length integer (SPOE.txt 3.1) and returns the
 * offset after it. The caller makes sure that there is room for `varintBytes(value)` bytes.
 */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset;
  if (value < 240) {
    target[at++] = value;
    return at;
  }
  target[at++] = (value % 256) | 0xf0;
  // Division, not >>: bitwise operators would cut the value to 32 bits.
  let rest = Math.floor((value - 240) / 16);
  while (rest >= 128) {
    target[at++] = (rest % 128) | 0x80;
    rest = Math.floor((rest - 128) / 128);
  }
  target[at++] = rest;
  return at;
}
