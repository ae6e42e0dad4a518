import { maskCookies } from "./cookies.ts";
import { Mask } from "./mask.ts";
import { isNamedBy } from "./name-pattern.ts";
import { maskParameters, maskTarget } from "./parameters.ts";
import type { ModelRules } from "./rules.ts";
import { specified, Unspecified } from "./unspecified.ts";

/** Name, value, name, value, …; undefined for a value of which the documents do not say what becomes of it. */
export type RedactedHeaders = readonly (string | undefined)[];

const framing = ["host", "content-type", "content-length", "transfer-encoding"];

/** Headers of a request, or of an answer; undefined if the documents do not say what becomes of any of them. */
export function redactHeaders(headers: readonly string[], rules: ModelRules): RedactedHeaders | undefined {
  return specified(() => {
    const mask = Mask.ofHead(rules);
    const redacted = headers.map((part, i) => {
      if (i % 2 === 0) return part;
      const value = specified(() => redactValue(headers[i - 1], part, rules, mask));
      if (value === undefined) mask.countMost(part);
      return value;
    });
    mask.assertLimits(headers);
    return redacted;
  });
}

/** Throws `Unspecified`. */
export function redactPath(path: string, rules: ModelRules): string {
  if (rules.query.length === 0) return path;
  const mask = Mask.ofHead(rules);
  const masked = maskTarget(path, { names: rules.query, mask });
  mask.assertLimits([path]);
  return masked;
}

function redactValue(name: string, value: string, rules: ModelRules, mask: Mask): string {
  const lowerCase = name.toLowerCase();
  if (framing.includes(lowerCase)) return value;
  if (isNamedBy(rules.headers, name)) return mask.of(value.trim());
  const isCookie = lowerCase === "cookie" || lowerCase === "set-cookie";
  const masked = isCookie ? maskCookies(lowerCase, value, rules.cookies, mask) : value;
  if (rules.query.length === 0 || !hasUrl(value, isCookie)) return masked;
  return masked.replace(/[^ \t]+/g, (word) => maskWord(word, rules, mask));
}

/** Whether a header has a URL with parameters, plain or percent-encoded. A semicolon ends the URL in a cookie. */
function hasUrl(value: string, isCookie: boolean): boolean {
  const hasQuery = /[?#]/.test(value) || /%(?:25)*(?:3f|23)/i.test(value);
  return hasQuery || (!isCookie && /(?:^|[=:&;,\s"'<>])\/[^&;,\s"'<>]*;/.test(value));
}

/** A word of a header, which may be a URL, also between angle brackets as in Link. */
function maskWord(word: string, { query }: ModelRules, mask: Mask): string {
  const url = (text: string) => maskParameters(text, { names: query, mask });
  const [, target, after] = /^<([^<>"',]*)>([;,]?)$/.exec(word) ?? [];
  if (target !== undefined) return `<${url(target)}>${after}`;
  const masked = url(word);
  // A URL may contain these, and they may end it.
  if (/["'<>,]/.test(word) && masked !== word.replace(/[^"'<>,]+/g, url)) throw new Unspecified("a URL in quotes");
  return masked;
}
