import { beginsAsJson } from "./content-kind.ts";
import type { LimitedMask } from "./limited-mask.ts";
import type { NameTest } from "./name-patterns.ts";
import { decodePercent, encodePercent } from "./percent-encoding.ts";
import { UrlQuotes } from "./url-quotes.ts";

/** Which values are masked, and how. All texts have one character per byte. */
export interface ValueRules {
  readonly names: NameTest;
  readonly mask: (value: string) => string;
  /** Masks secrets inside of a value whose name does not give it away. */
  readonly within?: (value: string) => string;
  /** Masks secrets inside of a value that begins as JSON; undefined if it is none. */
  readonly json?: (value: string) => string | undefined;
  /** Without it, any number of values is masked. Once it is spent, the rest of a text is masked as one value. */
  readonly limit?: Pick<LimitedMask, "isSpent">;
}

// Servers disagree whether `;` separates parameters. `?` and `#` begin the parameters of a URL that is a value.
const separators = codesOf("&;?#\r\n");
// In a header, a URL may be one part of the value.
const separatorsInHeader = codesOf("&;?#\r\n \t\"'<>,");
const ampersand = 0x26;
const equalsSign = 0x3d;
const slash = 0x2f;
const colon = 0x3a;
const semicolon = 0x3b;
const parameterStart = /&(?=[\w.%+[\]-]*=)/g;
// A URL in a parameter of a URL in a parameter …
const maxDepth = 4;

/**
 * Masks values in a query or a form. A name may be percent-encoded, and may be a part in brackets, as in `user[password]`. A masked
 * value ends at the next `&`, because a value may contain the other characters that separate parameters.
 */
export function maskParameters(text: string, rules: ValueRules): string {
  return maskAll(text, rules, separators, 0);
}

/** Whether the value of a header can have a URL with parameters, also percent-encoded, as in `%2Fcallback%3Ftoken%3Dabc`. */
export function mayHaveParameters(value: string): boolean {
  return /[?#]|%(?:25)*(?:3f|23)/i.test(value);
}

/** Whether a URL in the value of a header has parameters in its path: `https://shop.example/cart;jsessionid=abc`. */
export function hasPathParameters(value: string): boolean {
  if (!value.includes(";") || !value.includes("/")) return false;
  let start = 0;
  let inUrl = false;
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code === slash) inUrl ||= at === start || value.charCodeAt(at - 1) === colon;
    else if (code === semicolon && inUrl) return true;
    // A URL may be the value of a parameter, as in `url=/cart`.
    else if (separatorsInHeader[code] || (code === equalsSign && !inUrl)) {
      start = at + 1;
      inUrl = false;
    }
  }
  return false;
}

/** Masks parameters of the URLs in the value of a header. */
export function maskUrlsInHeader(value: string, rules: ValueRules): string {
  return maskAll(value, rules, separatorsInHeader, 0, new UrlQuotes());
}

/** Masks parameters of the query of a request target, and those of its path: `/a;token=b/c?token=d`. */
export function maskTarget(target: string, rules: ValueRules): string {
  const mark = target.search(/[?#]/);
  const path = mark < 0 ? target : target.slice(0, mark);
  const masksPath = rules.within !== undefined || path.includes(";");
  const maskedPath = masksPath ? mapParts(path, "/", rules, (part) => maskPathPart(part, rules)) : path;
  return mark < 0 ? maskedPath : maskedPath + maskParameters(target.slice(mark), rules);
}

/** Whether the name, or a part of it in brackets, is to be masked. */
export function isMaskedName(text: string, names: NameTest): boolean {
  // PHP and others ignore blanks around a name.
  const name = text.trim();
  if (names(name)) return true;
  return name.includes("[") && name.split(/[[\]]/).some((part) => part !== "" && names(part));
}

function maskPathPart(part: string, rules: ValueRules): string {
  return mapParts(part, ";", rules, (each, i) => {
    if (i > 0) return maskParameters(each, rules);
    return rules.within ? maskInside(each, decodePercent(each), rules, 0) : each;
  });
}

function mapParts(
  text: string,
  separator: string,
  { limit, mask }: ValueRules,
  change: (part: string, index: number) => string,
): string {
  const parts = text.split(separator);
  const masked: string[] = [];
  for (const [i, part] of parts.entries()) {
    if (limit?.isSpent) {
      masked.push(mask(parts.slice(i).join(separator)));
      break;
    }
    masked.push(change(part, i));
  }
  return masked.join(separator);
}

function maskAll(
  text: string,
  rules: ValueRules,
  separating: readonly boolean[],
  depth: number,
  quotes?: UrlQuotes,
): string {
  const pieces: string[] = [];
  let copied = 0;
  const replace = (start: number, end: number, value: string) => {
    pieces.push(text.slice(copied, start), value);
    copied = end;
  };
  for (let at = 0; at < text.length; ) {
    if (rules.limit?.isSpent) {
      replace(at, text.length, rules.mask(text.slice(at)));
      break;
    }
    let end = at;
    let equals = -1;
    for (; end < text.length; end++) {
      const code = text.charCodeAt(end);
      if (separating[code]) break;
      if (code === equalsSign && equals < 0) equals = end;
    }
    if (equals >= 0 && isMaskedName(decodePercent(text.slice(at, equals)), rules.names)) {
      for (end = equals + 1; end < text.length; end++) {
        const code = text.charCodeAt(end);
        if (code === ampersand || quotes?.isEnd(code)) break;
      }
      replace(equals + 1, end, rules.mask(decodePercent(text.slice(equals + 1, end))));
    } else {
      const start = equals < 0 ? at : equals + 1;
      const value = text.slice(start, end);
      const decoded = decodePercent(value);
      if (rules.json && beginsAsJson(decoded)) {
        const json = maskJsonValue(text, { start, separatorAt: end, decoded }, rules);
        end = json.end;
        if (json.masked !== undefined) replace(start, end, json.masked);
      } else {
        const masked = maskInside(value, decoded, rules, depth);
        if (masked !== value) replace(start, end, masked);
      }
    }
    quotes?.pass(text.charCodeAt(end), text.charCodeAt(end - 1));
    at = end + 1;
  }
  return copied === 0 ? text : pieces.join("") + text.slice(copied);
}

interface JsonStart {
  readonly start: number;
  /** The first separator behind it, and what is decoded up to there. */
  readonly separatorAt: number;
  readonly decoded: string;
}

/**
 * A value that begins as JSON ends at the first separator if it is whole there, as a cell of CSV is, and else at the next `&`: programs
 * that write it without escapes leave the other separators in it. `masked` is undefined if the value has nothing to mask.
 */
function maskJsonValue(text: string, { start, separatorAt, decoded }: JsonStart, { json, mask }: ValueRules) {
  const whole = json?.(decoded);
  if (whole !== undefined) return maskedJson(separatorAt, decoded, whole);
  let end = text.indexOf("&", separatorAt);
  if (end < 0) end = text.length;
  if (end > separatorAt) {
    const longer = decodePercent(text.slice(start, end));
    const masked = json?.(longer);
    if (masked !== undefined) return maskedJson(end, longer, masked);
  }
  // The `&` may be one in a string of the JSON: the value goes on if no other parameter begins there.
  parameterStart.lastIndex = end;
  end = parameterStart.exec(text)?.index ?? text.length;
  return { end, masked: mask(decodePercent(text.slice(start, end))) };
}

function maskedJson(end: number, decoded: string, masked: string): { readonly end: number; readonly masked?: string } {
  return masked === decoded ? { end } : { end, masked: encodePercent(masked) };
}

/** A value may be a URL with parameters of its own, as in `?next=%2Fcallback%3Ftoken%3Dabc`. */
function maskInside(value: string, decoded: string, rules: ValueRules, depth: number): string {
  const nested = decoded.includes("=") || (decoded !== value && decoded.includes("%"));
  let masked = decoded;
  // Nobody encodes a URL that often, unless it is to hide something.
  if (nested && depth === maxDepth) masked = decoded === value ? decoded : rules.mask(decoded);
  else if (nested) masked = maskAll(decoded, rules, separators, depth + 1);
  if (rules.within) masked = rules.within(masked);
  return masked === decoded ? value : encodePercent(masked);
}

function codesOf(characters: string): readonly boolean[] {
  const codes = new Array<boolean>(256).fill(false);
  for (const character of characters) codes[character.charCodeAt(0)] = true;
  return codes;
}
