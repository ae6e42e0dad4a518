import type { NameTest } from "./name-patterns.ts";

/** How a body can be read; the others are reasons why it cannot. */
export type ContentKind = "json" | "form" | "multipart" | "other" | "encoded" | "ambiguous";

export interface ContentFacts {
  /** The values of all Content-Type headers, of which there should be one at most. */
  readonly types: readonly string[];
  readonly encodings: readonly string[];
}

const plainEncoding = /^(?:identity)?$/i;
const readableCharset = /^"?(?:utf-?8|us-ascii|ascii|iso-8859-1|latin1|windows-1252)"?$/i;
const mediaType = /^[\w!#$&.^+-]+\/[\w!#$&.^+-]+$/;
const quotedText = /"(?:[^"\\]|\\.)*"/gs;
const longestType = 1_000;
// UTF-16 and UTF-32, with or without a byte order mark.
const wideText = /^(?:\xff\xfe|\xfe\xff|\0|.\0)/s;
// gzip, zip, xz, zstd and bzip2.
const compressedStarts = ["1f8b", "504b0304", "fd377a585a00", "28b52ffd"].map((hex) =>
  Buffer.from(hex, "hex").toString("latin1"),
);
const bzip2 = /^BZh[1-9]1AY&SY/;
// zlib begins with bytes that may be letters, too: what follows them tells it from text in UTF-8, which may be cut off.
const utf8Text = /^(?:[\t\r\n -~]|[\xc2-\xf4](?:[\x80-\xbf]{1,3}|$))*$/;
const zlibProbeChars = 64;
// The first delimiter, and the head of the first part with one of the headers that parts have.
const multipartStart =
  /^(?:\r?\n){0,8}--([^\r\n]{1,200})\r?\n(?:[\w-]{1,80}:[^\r\n]{0,1000}\r?\n){0,32}?content-(?:disposition|type)[ \t]*:/i;
const byteOrderMark = "\xef\xbb\xbf";
// Sticky, so that each looks at one line only.
const scalarLine = /[ \t]*(?:(?:"[^\r\n]*"|-?[0-9][0-9.eE+-]*|true|false|null)[ \t]*)?[\r\n]+/y;
const containerStart = /[ \t]*[[{]/y;

/**
 * How to read a body. Programs differ in whether they believe the Content-Type, so what looks like JSON is read as JSON, and text of
 * no or of any textual type as a form.
 *
 * - `encoded`: compressed, or in characters that are not ASCII's, such as UTF-16.
 * - `ambiguous`: it has two types, or one that is none: programs may choose any. Or it is multipart, and its type is another.
 */
export function contentKindOf(body: string, { types, encodings }: ContentFacts): ContentKind {
  if (!encodings.every((encoding) => plainEncoding.test(encoding.trim()))) return "encoded";
  const [type = ""] = types;
  // Some programs join several headers with a comma.
  if (types.length > 1 || type.length > longestType || type.replace(quotedText, "").includes(",")) return "ambiguous";
  const charsets = [...type.matchAll(/;\s*charset\s*=\s*([^\s;]*)/gi)];
  if (charsets.some(([, charset]) => !readableCharset.test(charset))) return "encoded";
  const media = mediaTypeOf(type);
  if (media.startsWith("multipart/")) return "multipart";
  const isJson = /[/+]json\b|[/-](?:ndjson|jsonl|jsonlines)$/.test(media);
  const isText = type.trim() === "" || media.startsWith("text/") || media === "application/x-www-form-urlencoded";
  if (wideText.test(body) || isCompressed(body)) return isJson || isText ? "encoded" : "other";
  if (isJson || beginsAsJson(body)) return "json";
  if (boundaryIn(body) !== "") return "ambiguous";
  if (isText) return "form";
  return mediaType.test(media) ? "other" : "ambiguous";
}

/** Whether a text begins with a list or an object in JSON, also behind lines with other values, as in NDJSON. */
export function beginsAsJson(text: string): boolean {
  scalarLine.lastIndex = text.startsWith(byteOrderMark) ? byteOrderMark.length : 0;
  let at = scalarLine.lastIndex;
  while (scalarLine.test(text)) at = scalarLine.lastIndex;
  containerStart.lastIndex = at;
  return containerStart.test(text);
}

/** Whether a body that is not said to be text is in UTF-16 or UTF-32 all the same. Binary formats often begin with single zeros. */
export function isWide(body: string): boolean {
  const zeros = [...body.slice(0, 8)].map((byte) => byte === "\0");
  const isAt = (pattern: string) =>
    zeros.length >= pattern.length && [...pattern].every((is, i) => zeros[i] === (is === "0"));
  return /^(?:\xff\xfe|\xfe\xff)/.test(body) || ["0a0a", "a0a0", "000a000a", "a000a000"].some(isAt);
}

/** Whether a body begins as compressed data does, whatever its headers say. */
export function isCompressed(body: string): boolean {
  return compressedStarts.some((start) => body.startsWith(start)) || bzip2.test(body) || isZlib(body);
}

/** RFC 1950 2.2: method 8, a window of up to 32 KiB, and both bytes together a multiple of 31. */
function isZlib(body: string): boolean {
  const [first, second] = [body.charCodeAt(0), body.charCodeAt(1)];
  const hasHeader = first % 16 === 8 && first < 0x80 && (first * 256 + second) % 31 === 0;
  return hasHeader && !utf8Text.test(body.slice(0, zlibProbeChars));
}

/** The boundary of a body that begins as multipart, whatever its type says; else empty. */
export function boundaryIn(body: string): string {
  return multipartStart.exec(body)?.[1].trimEnd() ?? "";
}

/** The codings of a body, apart from `chunked`, which HAProxy removes as the only transfer coding. */
export function encodingsOf(headers: readonly string[]): readonly string[] {
  const transfer = valuesOf(headers, (name) => name.toLowerCase() === "transfer-encoding");
  const codings = transfer.flatMap((value) => value.split(",")).filter((coding) => !/^\s*chunked\s*$/i.test(coding));
  return [...valuesOf(headers, (name) => name.toLowerCase() === "content-encoding"), ...codings];
}

/** The type without its parameters, in lower case. */
export function mediaTypeOf(contentType: string): string {
  return contentType.split(";", 1)[0].trim().toLowerCase();
}

/** The values of a header that can occur several times, by lower-case name. */
export function valuesOf(headers: readonly string[], isWanted: NameTest): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) if (isWanted(headers[i])) values.push(headers[i + 1]);
  return values;
}
