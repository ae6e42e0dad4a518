import { isUtf8 } from "node:buffer";

/**
 * Converts Unicode text to one character per byte. Tools that do not know the charset write each byte as the character
 * with its number. So text with only such characters is read as bytes; other text is encoded as UTF-8.
 */
export function toByteString(text: string): string {
  return isByteString(text) ? text : Buffer.from(text).toString("latin1");
}

/** Whether every character fits in one byte. */
export function isByteString(text: string): boolean {
  return !/[^\0-\xff]/.test(text);
}

/** Decodes UTF-8 bytes (one character per byte); undefined if they are not UTF-8. */
export function toUnicode(byteString: string): string | undefined {
  const bytes = Buffer.from(byteString, "latin1");
  return isUtf8(bytes) ? bytes.toString() : undefined;
}
