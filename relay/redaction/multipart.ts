import { type ContentFacts, valuesOf } from "./content-kind.ts";
import { isMaskedName, type ValueRules } from "./parameters.ts";
import { decodePercent } from "./percent-encoding.ts";

export interface MultipartRules extends ValueRules {
  /** Masks secrets in the content of a part whose name does not give it away; undefined if it cannot be read. */
  readonly content: (content: string, facts: ContentFacts) => string | undefined;
}

const lineEnd = "\r\n";
const maxHeadBytes = 8 * 1024;

/**
 * Masks the parts of a multipart form (RFC 7578) by their names. Undefined for anything that another reader could understand in
 * another way. All texts have one character per byte.
 */
export function maskMultipart(text: string, boundary: string, rules: MultipartRules): string | undefined {
  const delimiter = `--${boundary}`;
  const parts = text.split(delimiter);
  const last = parts.length - 1;
  if (boundary === "" || parts.length < 2 || parts[0] !== "" || !/^--(?:\r\n)?$/.test(parts[last])) return undefined;
  const masked: string[] = [""];
  for (const part of parts.slice(1, last)) {
    if (rules.limit?.isSpent) return undefined;
    // Every delimiter has a line of its own: others would not end a part for everybody.
    const headEnd = part.indexOf(lineEnd + lineEnd);
    if (!part.startsWith(lineEnd) || !part.endsWith(lineEnd) || headEnd < 0 || headEnd > maxHeadBytes) return undefined;
    const head = part.slice(0, headEnd);
    const start = headEnd + 2 * lineEnd.length;
    const content = part.slice(start, -lineEnd.length);
    const name = readName(head);
    if (name === undefined || start + lineEnd.length > part.length) return undefined;
    const isSecret = isMaskedName(name, rules.names) || isMaskedName(decodePercent(name), rules.names);
    const replaced = isSecret ? rules.mask(content) : rules.content(content, factsOf(head));
    if (replaced === undefined) return undefined;
    masked.push(maskHead(part.slice(0, start), rules) + replaced + lineEnd);
  }
  masked.push(parts[last]);
  return masked.join(delimiter);
}

/**
 * Masks what can be found in a multipart form that `maskMultipart` refuses, for people to look at: the content of each part whose
 * name is to be masked or cannot be read.
 */
export function maskBrokenMultipart(text: string, boundary: string, rules: MultipartRules): string | undefined {
  if (boundary === "") return undefined;
  const delimiter = `--${boundary}`;
  return text
    .split(delimiter)
    .map((part) => {
      const [blank = ""] = /\r?\n\r?\n/.exec(part) ?? [];
      const headEnd = blank === "" ? part.length : part.indexOf(blank);
      const head = part.slice(0, headEnd);
      const content = part.slice(headEnd + blank.length);
      const name = readName(head);
      const isSecret =
        name === undefined || isMaskedName(name, rules.names) || isMaskedName(decodePercent(name), rules.names);
      const read = isSecret && content !== "" ? undefined : rules.content(content, factsOf(head));
      return maskHead(head, rules) + blank + (read ?? rules.mask(content));
    })
    .join(delimiter);
}

/** The boundary in a Content-Type; empty if it has none, or several of which programs may take any. */
export function boundaryOf(contentType: string): string {
  const [first, ...others] = contentType.split(/;\s*boundary(?=[\s=*])/i).slice(1);
  if (first === undefined || others.length > 0) return "";
  const [, quoted, plain] = /^\s*=\s*(?:"([^"\\]{1,200})"|([^\s";]{1,200}))/.exec(first) ?? [];
  return quoted ?? plain ?? "";
}

/** The file name of a part, or a header of its own, may be a secret. */
function maskHead(head: string, { within }: MultipartRules): string {
  return within ? within(head) : head;
}

function factsOf(head: string): ContentFacts {
  const headers = head.split(/\r\n|\r|\n/).flatMap((line) => {
    const colon = line.indexOf(":");
    return colon < 0 ? [] : [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
  });
  return {
    types: valuesOf(headers, (name) => name === "content-type"),
    encodings: valuesOf(headers, (name) => name === "content-encoding"),
  };
}

/** The name in the Content-Disposition of a part. */
function readName(head: string): string | undefined {
  const lines = head.split(/\r\n|\r|\n/);
  const dispositions = lines.filter((line) => /^content-disposition[ \t]*:/i.test(line));
  // Folded lines, encoded names and encoded contents could hide a name or a value.
  const odd = lines.some((line) => /^[ \t]|^content-transfer-encoding[ \t]*:/i.test(line));
  if (odd || dispositions.length !== 1 || /[; \t]name\*/i.test(dispositions[0])) return undefined;
  const names = dispositions[0].split(/[; \t]name=/i);
  if (names.length !== 2) return undefined;
  // PHP takes off single quotes, too. What follows the closing quote could belong to the name.
  const [, quoted, plain] = /^(?:"((?:[^"\\]|\\.)*)"|([^"';\s][^";\s]*))[ \t]*(?:;|$)/.exec(names[1]) ?? [];
  return quoted?.replace(/\\(.)/g, "$1") ?? plain;
}
