import { isByteString } from "../text-bytes.ts";
import { type JsonObject, textOf } from "./json-object.ts";

/** A guess of the bytes that a client sent, of which a HAR has only a text. */
export interface Spelling {
  readonly bytes: Buffer;
  /** Whether the file says that these are the bytes. */
  readonly stated?: boolean;
}

const sliceChars = 16 * 1024;

// Firefox writes the header of the stream that it sent before the body.
const streamHeader = /^(?:(?:content-type|content-length|content-disposition):[^\r\n]{0,1024}\r?\n){1,8}\r?\n/i;

/**
 * Yields the bytes that the `text` of a request can mean, the most likely first: tools write a body as UTF-8, as a
 * character for each byte, or as base64.
 *
 * @param type the Content-Type.
 */
export function* spellText(postData: JsonObject, type: string): Generator<Spelling> {
  const text = textOf(postData.text);
  if (text === "") return;
  // HAR 1.2 has no encoding for a request's body; 1.3 proposes this one.
  if (postData._encoding === "base64" || postData.encoding === "base64") {
    const bytes = Buffer.from(text, "base64");
    if (bytes.length > 0) yield { bytes, stated: true };
  }
  const header = findStreamHeader(text, type);
  if (header !== undefined) {
    const length = /^content-length:\s*(\d{1,15})\s*$/im.exec(header)?.[1];
    for (const { bytes } of spellCharacters(text.slice(header.length), type)) {
      yield { bytes, ...(length !== undefined && { stated: bytes.length === Number(length) }) };
    }
  }
  yield* spellCharacters(text, type);
}

/** A message within the request begins with headers, too, and parts with a preamble: those do not name the whole type. */
function findStreamHeader(text: string, type: string): string | undefined {
  const header = streamHeader.exec(text)?.[0];
  if (header === undefined || !/^(?:message|multipart)\//i.test(type)) return header;
  const named = /^content-type:\s*([^;\r\n]*)/im.exec(header)?.[1].trim().toLowerCase();
  return named === type.split(";", 1)[0].trim().toLowerCase() ? header : undefined;
}

function* spellCharacters(text: string, type: string): Generator<Spelling> {
  const asBytes = isByteString(text);
  const latin1First = asBytes && /charset="?(?:iso-8859-1|latin-?1|windows-1252|us-ascii)/i.test(type);
  if (latin1First) yield { bytes: Buffer.from(text, "latin1") };
  const bytes = Buffer.from(text);
  // mitmproxy writes a byte that is not UTF-8 as half of a surrogate pair, as Python does.
  if (bytes.length > text.length && /[\udc80-\udcff]/u.test(text)) yield { bytes: unescapeBytes(text) };
  yield { bytes };
  if (asBytes && bytes.length !== text.length && !latin1First) yield { bytes: Buffer.from(text, "latin1") };
  // The lines of a form end with CR LF (RFC 7578 4.1); some tools convert them.
  if (/^multipart\//i.test(type) && /(?:^|[^\r])\n/.test(text)) {
    yield* spellCharacters(text.replace(/\r?\n/g, "\r\n"), type);
  }
}

function unescapeBytes(text: string): Buffer {
  const parts: Buffer[] = [];
  // Slices, because the text may alternate between both kinds millions of times.
  for (let at = 0; at < text.length; ) {
    const end = at + sliceChars - (isHighSurrogate(text.charCodeAt(at + sliceChars - 1)) ? 1 : 0);
    const pieces = text.slice(at, end).split(/([\udc80-\udcff]+)/u);
    // The second byte of each half is the same.
    const toBytes = (piece: string, i: number) =>
      i % 2 === 0 ? Buffer.from(piece) : Buffer.from(piece, "utf16le").filter((_byte, j) => j % 2 === 0);
    parts.push(Buffer.concat(pieces.map(toBytes)));
    at = end;
  }
  return Buffer.concat(parts);
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
