/**
 * JSON for the body of a message. SQS accepts U+0009, U+000A, U+000D and from U+0020 on all characters but U+FFFE and U+FFFF;
 * JSON itself escapes the control characters and unpaired surrogates.
 */
export function toMessageText(value: unknown): string {
  return JSON.stringify(value).replace(/[\ufffe\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16)}`);
}

/** Why no queue stores this body, as the end of a sentence; undefined if it is valid. */
export function findTextMistake(body: string): string | undefined {
  if (body === "") return "the body of the message is empty";
  const at = body.search(/[^\t\n\r\u0020-\ufffd]/);
  if (at < 0) return undefined;
  const code = body.charCodeAt(at).toString(16).toUpperCase().padStart(4, "0");
  return `the body of the message has the character U+${code}, which SQS does not accept`;
}

/** The longest beginning of a text that has at most `maxBytes` in `toMessageText`, without its quotes. Cuts no character in two. */
export function cutText(text: string, maxBytes: number): string {
  if (textBytes(text) <= maxBytes) return text;
  let [fits, tooLong] = [0, Math.min(text.length, maxBytes + 1)];
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1;
    if (textBytes(text.slice(0, toBoundary(text, middle))) <= maxBytes) fits = middle;
    else tooLong = middle;
  }
  return text.slice(0, toBoundary(text, fits));
}

/** The same, with `…` at the end if it was cut. Empty if there is no room for a single character. */
export function shorten(text: string, maxBytes: number): string {
  if (textBytes(text) <= maxBytes) return text;
  const beginning = cutText(text, maxBytes - Buffer.byteLength("…"));
  return beginning === "" ? "" : `${beginning}…`;
}

function textBytes(text: string): number {
  return Buffer.byteLength(toMessageText(text)) - 2;
}

/** The index, or the one before it if it is in the middle of a character beyond U+FFFF. */
function toBoundary(text: string, index: number): number {
  const isMiddle = /^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(index - 1, index + 1));
  return isMiddle && index > 0 ? index - 1 : index;
}
