import { createHmac } from "node:crypto";

/** The text in place of a value. */
export const redacted = "redacted";

// 96 bits: two of a billion different values have the same mask with a chance of one in 10^11.
const hashChars = 16;

/**
 * Creates the function that masks values. Without a key the mask is the same for all. With a key it is `redacted-` and a part of an
 * HMAC-SHA-256: equal values have equal masks, on every agent with this key, and nobody without the key can test a guess. A mask
 * needs no escapes in headers, URLs and JSON.
 */
export function createMask(key: string | undefined): (value: string) => string {
  if (key === undefined) return () => redacted;
  return (value) => {
    const hash = createHmac("sha256", key).update(value, "latin1").digest("base64url");
    return `${redacted}-${hash.slice(0, hashChars)}`;
  };
}
