import { gunzipSync, inflateSync, zstdDecompressSync } from "node:zlib";
import { Unspecified } from "./unspecified.ts";

export type ContentKind = "json" | "form" | "multipart" | "other" | "encoded" | "ambiguous";

const token = "[\\w!#$&.^+-]+";
const plainType = new RegExp(
  `^[ \\t]*(${token}/(?:${token}|\\*)|\\*/\\*)((?:[ \\t]*;[ \\t]*${token}=(?:"[^"\\\\]*"|[^\\s";,\\\\]+))*)[ \\t]*$`,
);
const jsonType = /^(?:[\w.-]+\/(?:[\w.-]+\+)?json|[\w.-]+\/(?:x-)?(?:ndjson|jsonl|jsonlines))$/;
const asciiCharset = /^(?:utf-?8|us-ascii|ascii|iso-8859-1|latin1|windows-1252)$/i;
const noType = "none";
const form = "application/x-www-form-urlencoded";

/** How a body is read, as relay/README.md says under Bodies. Throws `Unspecified`. */
export function contentKindOf(body: string, types: readonly string[], encodings: readonly string[]): ContentKind {
  const coded = encodings.filter((encoding) => !/^\s*(?:identity)?\s*$/i.test(encoding));
  if (coded.length > 0) return "encoded";
  const [type = ""] = types;
  // Programs join several headers with a comma. In quotes it would be a part of a parameter.
  if (types.length > 1 || type.length > 1_000 || /^[^"]*,/.test(type)) return "ambiguous";
  const { media, charset } = partsOf(type);
  if (charset !== undefined && !asciiCharset.test(charset)) return "encoded";
  if (media.startsWith("multipart/")) return "multipart";
  const isText = media === "" || media === form || media.startsWith("text/");
  const isJson = jsonType.test(media);
  if (!isJson && /json/.test(media)) throw new Unspecified(`the type ${media}`);
  const isWide = /^(?:\xff\xfe|\xfe\xff|[\s\S]?\0)/.test(body);
  if (isWide || isCompressed(body)) return isText || isJson ? "encoded" : "other";
  if (isJson || beginsAsJson(body)) return "json";
  if (beginsAsMultipart(body)) return "ambiguous";
  if (isText) return "form";
  return media === noType || media.includes("*") ? "ambiguous" : "other";
}

/** Whether a text is a list or an object in JSON, or begins with lines of other JSON values before one. */
export function beginsAsJson(text: string): boolean {
  const lines = text.replace(/^\xef\xbb\xbf/, "").split(/[\r\n]/);
  const first = lines.findIndex((line) => !/^[ \t]*$/.test(line));
  if (first < 0) return false;
  const opens = (line: string) => /^[ \t]*[[{]/.test(line);
  if (opens(lines[first])) return true;
  // Strings of which a quote is missing, and numbers that are none.
  if (lines.slice(first).some(opens) && /^[ \t]*["\-0-9tfn]/.test(lines[first]))
    throw new Unspecified("JSON after other lines");
  return false;
}

/** Whether the first line is a delimiter, and one of the lines behind it is a header of a part. */
function beginsAsMultipart(body: string): boolean {
  const [delimiter, ...lines] = body.replace(/^[\r\n]+/, "").split(/\r?\n/);
  const end = lines.findIndex((line) => !/^[\w-]+[ \t]*:/.test(line));
  const head = end < 0 ? lines : lines.slice(0, end);
  return /^--./.test(delimiter) && head.some((line) => /^content-(?:disposition|type)[ \t]*:/i.test(line));
}

/** Whether a body can be decompressed. Throws `Unspecified` for one that only begins like that. */
function isCompressed(body: string): boolean {
  const bytes = Buffer.from(body, "latin1");
  // RFC 1950 2.2: method 8, and both bytes together a multiple of 31.
  const beginsAsZlib = bytes.length > 1 && bytes[0] % 16 === 8 && bytes.readUInt16BE() % 31 === 0;
  const readers = [
    ...(body.startsWith("\x1f\x8b") ? [gunzipSync] : []),
    ...(body.startsWith("\x28\xb5\x2f\xfd") ? [zstdDecompressSync] : []),
    ...(beginsAsZlib ? [inflateSync] : []),
  ];
  if (readers.length === 0) return false;
  if (readers.some((read) => canRead(read, bytes))) return true;
  throw new Unspecified("a damaged compressed body");
}

function canRead(read: (bytes: Buffer) => Buffer, bytes: Buffer): boolean {
  try {
    read(bytes);
    return true;
  } catch {
    return false;
  }
}

export function partsOf(type: string): {
  readonly media: string;
  readonly charset?: string;
  readonly boundary?: string;
} {
  if (type.trim() === "") return { media: "" };
  const [, media, parameters] = plainType.exec(type) ?? [];
  if (media === undefined) {
    const [odd] = type.split(";");
    const isNone = !new RegExp(`^\\s*${token}/${token}\\s*$`).test(odd);
    if (isNone && !/charset|boundary|json|multipart|text|form|["\\]/i.test(type)) return { media: noType };
    throw new Unspecified("an odd type");
  }
  const pairs = [...parameters.matchAll(/;[ \t]*([^=]+)=(?:"([^"]*)"|([^\s;]+))/g)].map(
    ([, name, quoted, plain]) => [name.toLowerCase(), quoted ?? plain] as const,
  );
  const found = new Map(pairs);
  if (found.size < pairs.length) throw new Unspecified("a parameter twice");
  const [charset, boundary] = [found.get("charset"), found.get("boundary")];
  return {
    media: media.toLowerCase(),
    ...(charset !== undefined && { charset }),
    ...(boundary !== undefined && { boundary }),
  };
}
