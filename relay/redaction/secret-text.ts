import { maskCardNumbers } from "./card-numbers.ts";
import { encodePercent } from "./percent-encoding.ts";
import { isSecretName } from "./secret-names.ts";
import { hideUrlPasswords } from "./url-passwords.ts";

// Forms of well-known tokens. Each begins where no letter is before it, so that a long word is looked at once. The letter may belong
// to an escape of JSON, as in `line\neyJ…`.
const tokens =
  /(?:(?<![\w-])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))(?:eyJ[\w-]{6,}\.[\w-]{2,}(?:\.[\w-]*)*|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[oprsu]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|[rs]k_(?:live|test)_\w{8,}|xox[a-z]-[\w-]{10,}|AIza[\w-]{30,})/g;
const tagEnd = /[<>]/g;
const privateKey = /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/gs;
const scheme = /(?<![\w-])(Bearer|Basic|Negotiate|Digest)([ \t]{1,10})([\w.~+/=-]{4,})/gi;
const maxNameChars = 80;
// Between a name, its sign and its value. A sign is none of them, so each is looked at once in each direction.
const gap = /[\s"'\\]/;
const nameChar = /[\w.$%\-[\]\\]/;
// Percent-encoded text, without the characters that separate parameters: these are not encoded in it.
const encodedRun = /[\w.~!$()*+,:@/%[\]-]+/g;
const mostEncodings = 4;
const signs = /[=:>~]/;
const plainEnd = /[\s&;,"'<>\\)}\]]/;

/**
 * Masks what looks like a secret in text of any kind: what follows a name that suggests one, tokens by their form, card numbers and
 * passwords in URLs. It is a guess, for a text that a person looks at. Takes time in proportion to the length.
 */
export function maskSecretText(text: string, mask: string): string {
  return maskPlainText(maskEncoded(text, mask, 0), mask);
}

/** What is percent-encoded is judged decoded: a name, its sign and its value may all be in it. */
function maskEncoded(text: string, mask: string, depth: number): string {
  if (depth === mostEncodings || !/%[2-7][0-9A-Fa-f]/.test(text)) return text;
  return text.replace(encodedRun, (run) => {
    if (!run.includes("%")) return run;
    const decoded = run.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    );
    const masked = maskPlainText(maskEncoded(decoded, mask, depth + 1), mask);
    return masked === decoded ? run : encodePercent(masked);
  });
}

function maskPlainText(text: string, mask: string): string {
  const toMask = () => mask;
  const known = text
    .replace(tokens, toMask)
    .replace(scheme, (whole, name: string, blank: string, value: string) =>
      /^[a-z]+$/.test(value) ? whole : `${name}${blank}${mask}`,
    );
  const unlocked = known.includes("-----BEGIN ") ? known.replace(privateKey, toMask) : known;
  return maskCardNumbers(maskNamedValues(hideUrlPasswords(unlocked, mask), mask), toMask);
}

/** Masks the values in `name=value`, `name: value`, `"name": "value"`, and `<name>value</name>`. */
function maskNamedValues(text: string, mask: string): string {
  const pieces: string[] = [];
  let copied = 0;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (sign !== "=" && sign !== ":" && sign !== "<") continue;
    const value = sign === "<" ? contentOf(text, at) : namedValueOf(text, at);
    if (!value || value.end <= value.start) continue;
    pieces.push(text.slice(copied, value.start), mask);
    copied = value.end;
    at = copied - 1;
  }
  return copied === 0 ? text : pieces.join("") + text.slice(copied);
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** The value behind `=` or `:`, if the name before it suggests a secret. */
function namedValueOf(text: string, signAt: number): Range | undefined {
  let nameEnd = signAt;
  while (nameEnd > 0 && gap.test(text[nameEnd - 1])) nameEnd--;
  let nameStart = nameEnd;
  while (nameStart > 0 && nameEnd - nameStart < maxNameChars && nameChar.test(text[nameStart - 1])) nameStart--;
  if (nameStart === nameEnd || !isSecretName(toPlainName(text.slice(nameStart, nameEnd)))) return undefined;
  let start = signAt + 1;
  // `=>` of Ruby and PHP, `:=` and `==`.
  while (signs.test(text[start] ?? "")) start++;
  while (start < text.length && gap.test(text[start])) start++;
  const opened = text[start - 1];
  if (/[[{]/.test(text[start] ?? "")) return { start, end: endOfContainer(text, start) };
  if (/^(?:[|>][-+0-9]{0,2}\s|- )/.test(text.slice(start, start + 4))) return { start, end: endOfBlock(text, start) };
  if (opened !== '"' && opened !== "'")
    return { start, end: endOfUnquoted(text, { nameStart, nameEnd, signAt, start }) };
  const escapes = text[start - 2] === "\\" ? "\\" : "";
  const end = endOfQuoted(text, start, escapes + opened);
  return { start, end };
}

interface NamedPlace {
  readonly nameStart: number;
  readonly nameEnd: number;
  readonly signAt: number;
  readonly start: number;
}

/**
 * A value that is not in quotes ends with its word. If its name is the first of the line, or that of a header, it ends with the line:
 * it may be a passphrase, several cookies, or a scheme with a token.
 */
function endOfUnquoted(text: string, { nameStart, nameEnd, signAt, start }: NamedPlace): number {
  const plain = endOfPlain(text, start);
  const before = text[nameStart - 1] ?? "\n";
  if (/["'\\]/.test(text.slice(nameEnd, signAt))) return plain;
  // `'Cookie: a=b; c=d'`
  if (/["']/.test(before)) return Math.max(plain, endOfLine(text, start, before));
  const isHeader = text[signAt] === ":" && /cookie$|authorization$/i.test(text.slice(nameStart, nameEnd));
  const indent = indentOf(text, nameStart);
  if (indent !== undefined && text[signAt] === ":") return Math.max(plain, endOfIndented(text, start, indent));
  if (indent === undefined && !isHeader) return plain;
  return Math.max(plain, endOfLine(text, start, isHeader ? "'" : "&"));
}

/** How far a name is from the beginning of its line; undefined if there is more than blanks and dashes before it. */
function indentOf(text: string, nameStart: number): number | undefined {
  let at = nameStart;
  while (at > 0 && /[ \t-]/.test(text[at - 1])) at--;
  return at === 0 || /[\r\n]/.test(text[at - 1]) ? nameStart - at : undefined;
}

/** The end of the line, and of the lines behind it that are indented more: a mapping of YAML, or a folded header. */
function endOfIndented(text: string, start: number, indent: number): number {
  const next = /\r?\n(?=([ \t]*)\S)/y;
  let end = endOfLine(text, start, "");
  for (next.lastIndex = end; ; end = endOfLine(text, next.lastIndex, "")) {
    const line = next.exec(text);
    if (line?.index !== end || line[1].length <= indent) return end;
  }
}

/** The end of the line, or before that the next character of the given ones. */
function endOfLine(text: string, start: number, orAt: string): number {
  let end = start;
  while (end < text.length && text[end] !== "\n" && text[end] !== "\r" && text[end] !== orAt) end++;
  return end;
}

/** A name without the escapes of JSON and of URLs. */
function toPlainName(name: string): string {
  if (!/[%\\]/.test(name)) return name;
  return name.replace(/(?:\\u00|%)([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

/** The content of `<name …>content</name>`, with the elements in it. */
function contentOf(text: string, tagAt: number): Range | undefined {
  const [tag, name] = /^<((?:[\w.-]{1,40}:)?[\w.-]{1,80})(?=[\s>])/.exec(text.slice(tagAt, tagAt + 130)) ?? [];
  if (tag === undefined || !isSecretName(name.slice(name.indexOf(":") + 1))) return undefined;
  // A `<` begins another tag, so no part of the text is looked at for two of them.
  tagEnd.lastIndex = tagAt + tag.length;
  const open = tagEnd.exec(text)?.index ?? text.length;
  if (text[open] === ">" && text[open - 1] === "/") return undefined;
  const start = text[open] === ">" ? open + 1 : Math.min(open, text.length - 1);
  const close = text.indexOf(`</${name}`, start);
  return { start, end: close < 0 ? text.length : close };
}

/** Behind the list or object; the end of the text if it does not end. */
function endOfContainer(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      const closing = text[at - 1] === "\\" ? '\\"' : '"';
      at = endOfQuoted(text, at + 1, closing) + closing.length - 1;
    }
    if (character === "[" || character === "{") depth++;
    else if ((character === "]" || character === "}") && --depth === 0) return at + 1;
  }
  return text.length;
}

/** Behind a text or list of YAML over several lines: before the next line that is neither indented nor an item. */
function endOfBlock(text: string, start: number): number {
  const next = /\n(?=[^\s-])/g;
  next.lastIndex = start;
  return next.exec(text)?.index ?? text.length;
}

function endOfPlain(text: string, start: number): number {
  let end = start;
  while (end < text.length && !plainEnd.test(text[end])) end++;
  return end;
}

/** Where the closing quote is. In text that is itself in quotes, it is an escaped one. */
function endOfQuoted(text: string, start: number, closing: string): number {
  for (let at = text.indexOf(closing, start); at >= 0; at = text.indexOf(closing, at + 1)) {
    let slashes = 0;
    while (at - slashes > start && text[at - slashes - 1] === "\\") slashes++;
    if (slashes % 2 === 0) return at;
  }
  return text.length;
}
