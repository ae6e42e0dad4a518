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

/**
 * How to read a body. Programs differ in whether they believe the Content-Type, so what looks like JSON is read as JSON, and text of
 * no or of any textual type as a form.
 *
 * - `encoded`: compressed, or in characters that are not ASCII's, such as UTF-16.
 * - `ambiguous`: it has two types, and programs may choose either.
 */
export function contentKindOf(body: string, { types, encodings }: ContentFacts): ContentKind {
  if (!encodings.every((encoding) => plainEncoding.test(encoding.trim()))) return "encoded";
  if (types.length > 1) return "ambiguous";
  const [type = ""] = types;
  const charset = /;\s*charset=([^\s;]*)/i.exec(type.slice(0, 1_000))?.[1];
  if (charset !== undefined && !readableCharset.test(charset)) return "encoded";
  const media = mediaTypeOf(type);
  if (media.startsWith("multipart/")) return "multipart";
  if (/[/+]json\b|[/-](?:ndjson|jsonl|jsonlines)$/.test(media)) return "json";
  // UTF-16 and UTF-32, with or without a byte order mark.
  if (/^(?:\xff\xfe|\xfe\xff|\0|.\0)/s.test(body))
    return media === "" || media.startsWith("text/") ? "encoded" : "other";
  if (/^(?:\xef\xbb\xbf)?[ \t\r\n]{0,1000}[[{]/.test(body)) return "json";
  return media === "" || media.startsWith("text/") || media === "application/x-www-form-urlencoded" ? "form" : "other";
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
