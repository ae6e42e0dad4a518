import { partsOf } from "./content-kind.ts";
import type { Mask } from "./mask.ts";
import { isNamedInBrackets, percentDecoded } from "./parameters.ts";
import { Unspecified } from "./unspecified.ts";

export interface MultipartRules {
  readonly names: readonly string[];
  readonly mask: Mask;
  /** The content of a part that is not masked as a whole; undefined if it cannot be read. */
  readonly content: (content: string, types: readonly string[]) => string | undefined;
}

/**
 * A form with the named parts masked (RFC 7578); undefined if it is damaged. Throws `Unspecified` for a form that is neither plain
 * nor obviously damaged.
 */
export function maskMultipart(
  form: string,
  type: string,
  { names, mask, content }: MultipartRules,
): string | undefined {
  const { boundary } = partsOf(type);
  if (boundary === undefined) return undefined;
  if (!/^[\w'()+./:=?-]{1,70}$/.test(boundary)) throw new Unspecified("an odd boundary");
  const delimiter = `--${boundary}`;
  if (!form.startsWith(delimiter)) return undefined;
  const lines = form.split("\r\n");
  const last = lines.at(-1) === "" ? lines.length - 2 : lines.length - 1;
  if (lines[last] !== `${delimiter}--`) return undefined;
  const delimiters = lines.flatMap((line, i) => (line === delimiter || i === last ? [i] : []));
  if (form.split(delimiter).length !== delimiters.length + 1) throw new Unspecified("a delimiter without its line");
  const masked = [...lines];
  for (const [i, at] of delimiters.slice(0, -1).entries()) {
    const headEnd = lines.indexOf("", at);
    const end = delimiters[i + 1];
    if (headEnd < 0 || headEnd + 1 >= end) return undefined;
    const head = readHead(lines.slice(at + 1, headEnd));
    if (head === undefined) return undefined;
    const text = lines.slice(headEnd + 1, end).join("\r\n");
    const isSecret = isNamedInBrackets(head.name, names) || isNamedInBrackets(percentDecoded(head.name), names);
    const replaced = isSecret ? mask.of(text) : content(text, head.types);
    if (replaced === undefined) return undefined;
    masked.fill("", headEnd + 1, end);
    masked[headEnd + 1] = replaced;
    for (let line = headEnd + 2; line < end; line++) masked[line] = removed;
  }
  return masked.filter((line) => line !== removed).join("\r\n");
}

// A line that is left out, because an earlier line has its text.
const removed = "\r\n";

/** Undefined if programs understand the name of the part differently: in single quotes, or with text behind its quotes. */
function readHead(lines: readonly string[]): { readonly name: string; readonly types: readonly string[] } | undefined {
  const fields = lines.map((line) => /^([\w-]+): ([ -~]*)$/.exec(line) ?? []);
  const valuesOf = (name: string) =>
    fields.flatMap(([, other, value]) => (other?.toLowerCase() === name ? [value] : []));
  const dispositions = valuesOf("content-disposition");
  const types = valuesOf("content-type");
  const [disposition = ""] = dispositions;
  const isPlain = dispositions.length === 1 && types.length + 1 === lines.length;
  if (isPlain && /^form-data; name=(?:'|"[^"\\]*"\w)/.test(disposition)) return undefined;
  const [, quoted, plain] =
    /^form-data; name=(?:"([^"\\]*)"|([\w%*-]+))(?:; filename="[^"\\]*")?$/.exec(disposition) ?? [];
  const name = quoted ?? plain;
  if (name === undefined || !isPlain) throw new Unspecified("an odd head of a part");
  return { name, types };
}
