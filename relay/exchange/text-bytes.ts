import { isUtf8 } from "node:buffer";

/**
 * Text of a format that knows Unicode only, as one character a byte. Tools write a byte as the character with its number
 * where they do not know its charset, so text that has only such characters is taken for bytes; other text is UTF-8.
 */
export function toByteString(text: string): string {
  return isByteString(text) ? text : Buffer.from(text).toString("latin1");
}

/** Whether every character stands for one byte. */
export function isByteString(text: string): boolean {
  return !/[^\0-\xff]/.test(text);
}

/** The text of which these bytes (one a character) are the UTF-8; undefined where they are not UTF-8. */
export function toUnicode(byteString: string): string | undefined {
  const bytes = Buffer.from(byteString, "latin1");
  return isUtf8(bytes) ? bytes.toString() : undefined;
}
