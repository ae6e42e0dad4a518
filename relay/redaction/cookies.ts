import { isMaskedName, type ValueRules } from "./parameters.ts";
import { decodePercent } from "./percent-encoding.ts";

// RFC 6265 4.1.2, and its successors.
const attributes: ReadonlySet<string> = new Set([
  ...["expires", "max-age", "domain", "path", "secure", "httponly", "samesite", "partitioned", "priority"],
]);

/**
 * Masks values in a Cookie header. A comma may separate cookies, too: some programs join several headers with it. A masked value
 * ends at the next semicolon, or behind its closing quote, because it may contain commas.
 */
export function maskCookies(value: string, rules: ValueRules): string {
  return maskPairs(value, rules, false);
}

/** Masks values in a Set-Cookie header; its attributes are kept. */
export function maskSetCookie(value: string, rules: ValueRules): string {
  return maskPairs(value, rules, true);
}

function maskPairs(text: string, { names, mask, limit }: ValueRules, keepsAttributes: boolean): string {
  const pieces: string[] = [];
  let copied = 0;
  // A date has a comma: `Wed, 21 Oct 2026 07:28:00 GMT`.
  let afterExpires = false;
  for (let at = 0; at < text.length; ) {
    if (limit?.isSpent) return pieces.join("") + text.slice(copied, at) + mask(text.slice(at));
    let end = at;
    let equals = -1;
    for (; end < text.length && text[end] !== ";" && text[end] !== ","; end++) {
      if (text[end] === "=" && equals < 0) equals = end;
    }
    // Without a name, browsers send only the value.
    const name = equals < 0 ? "" : text.slice(at, equals).trim();
    const isAttribute =
      keepsAttributes && at > 0 && attributes.has((equals < 0 ? text.slice(at, end) : name).trim().toLowerCase());
    const isDate = keepsAttributes && equals < 0 && afterExpires;
    afterExpires = isAttribute && name.toLowerCase() === "expires" && text[end] === ",";
    const isNamed = isMaskedName(name, names) || (/[%+]/.test(name) && isMaskedName(decodePercent(name), names));
    if (isNamed && !isAttribute && !isDate && text.slice(at, end).trim() !== "") {
      const start = firstVisible(text, equals < 0 ? at : equals + 1);
      end = endOf(text, start);
      pieces.push(text.slice(copied, start), mask(unquoted(text.slice(start, end).trim())));
      copied = end;
    }
    at = end + 1;
  }
  return copied === 0 ? text : pieces.join("") + text.slice(copied);
}

function firstVisible(text: string, start: number): number {
  let at = start;
  while (text[at] === " " || text[at] === "\t") at++;
  return at;
}

function endOf(text: string, start: number): number {
  const semicolon = text.indexOf(";", start);
  const plain = semicolon < 0 ? text.length : semicolon;
  if (text[start] !== '"') return plain;
  // RFC 2109: a quoted value may contain semicolons.
  const quote = closingQuote(text, start);
  if (quote < plain) return plain;
  const after = text.indexOf(";", quote);
  return after < 0 ? text.length : after;
}

/** -1 if there is none. A backslash escapes the character behind it. */
function closingQuote(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '"') return at;
    if (text[at] === "\\") at++;
  }
  return -1;
}

function unquoted(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}
