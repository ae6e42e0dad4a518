import { beginsAsJson } from "./content-kind.ts";
import type { Mask } from "./mask.ts";
import { isNamedBy } from "./name-pattern.ts";
import { Unspecified } from "./unspecified.ts";

export interface ParameterRules {
  readonly names: readonly string[];
  readonly mask: Mask;
  /** For the fields of forms: masks a value that begins as JSON; undefined if it is none. */
  readonly json?: (text: string) => string | undefined;
}

const mostEncodings = 4;

/** The parameters of a query or the fields of a form, with the values of those that are named masked. */
export function maskParameters(text: string, rules: ParameterRules, encodings = 0): string {
  let masked = "";
  let rest = text;
  while (rest !== "") {
    const piece = firstMatch(/^[^&;?#\r\n]*/, rest);
    const equals = piece.indexOf("=");
    const name = piece.slice(0, equals + 1);
    let value = piece.slice(equals + 1);
    if (equals >= 0 && isNamedInBrackets(percentDecoded(name.slice(0, -1)), rules.names)) {
      // The other separators may be a part of the value: all of it is masked.
      value = firstMatch(/^[^&]*/, rest.slice(name.length));
      masked += name + rules.mask.of(percentDecoded(value));
    } else if (rules.json && beginsAsJson(percentDecoded(value))) {
      const json = jsonField(value, rest.slice(name.length), rules, rules.json);
      value = json.text;
      masked += name + json.masked;
    } else {
      masked += name + maskInside(value, rules, encodings);
    }
    rest = rest.slice(name.length + value.length);
    masked += rest.slice(0, 1);
    rest = rest.slice(1);
  }
  return masked;
}

/** The target of a request: parameters of its query, and those behind a semicolon of its path. */
export function maskTarget(target: string, rules: ParameterRules): string {
  const path = firstMatch(/^[^?#]*/, target);
  const maskedPath = path.replace(/;[^;/]*/g, (parameter) => `;${maskParameters(parameter.slice(1), rules)}`);
  return maskedPath + maskParameters(target.slice(path.length), rules);
}

/** Whether a name, without the blanks around it, or a part of it in brackets is one of those that are named. */
export function isNamedInBrackets(text: string, names: readonly string[]): boolean {
  const name = text.trim();
  const parts = name.includes("[") ? name.split("[").flatMap((part) => part.split("]")) : [];
  return isNamedBy(names, name) || parts.some((part) => part !== "" && isNamedBy(names, part));
}

export function percentDecoded(text: string): string {
  return text.replace(/\+|%[0-9a-fA-F]{2}/g, (code) =>
    code === "+" ? " " : Buffer.from(code.slice(1), "hex").toString("latin1"),
  );
}

/**
 * A field with JSON, which may contain every separator but `&` if it is not whole before. If it is none, it is masked up to the
 * next parameter.
 */
function jsonField(value: string, rest: string, { mask }: ParameterRules, json: (text: string) => string | undefined) {
  const [longest, ...others] = rest.split("&");
  for (const text of [value, longest]) {
    const decoded = percentDecoded(text);
    const masked = json(decoded);
    if (masked !== undefined) return { text, masked: masked === decoded ? text : percentEncoded(masked) };
  }
  const next = others.findIndex((other) => other.includes("="));
  // `&` in a string of the JSON, or before a parameter with an odd name.
  if (next >= 0 && !/^(?:[\w.%+[\]-]*)=/.test(others[next])) throw new Unspecified("an unencoded & in damaged JSON");
  const all = [longest, ...(next < 0 ? others : others.slice(0, next))].join("&");
  return { text: all, masked: mask.of(percentDecoded(all)) };
}

/** A value may be a URL with parameters of its own. */
function maskInside(value: string, rules: ParameterRules, encodings: number): string {
  const decoded = percentDecoded(value);
  const hasParameters = decoded.includes("=");
  const isEncodedAgain = decoded !== value && decoded.includes("%");
  if (!hasParameters && !isEncodedAgain) return value;
  if (encodings === mostEncodings) return decoded === value ? value : percentEncoded(rules.mask.of(decoded));
  const masked = maskParameters(decoded, rules, encodings + 1);
  return masked === decoded ? value : percentEncoded(masked);
}

/** RFC 3986 3.4: what a query may contain stays, apart from what separates parameters. */
function percentEncoded(text: string): string {
  return Array.from(text, (byte) =>
    /[A-Za-z0-9\-._~!$'()*,:@/]/.test(byte) ? byte : `%${Buffer.from(byte, "latin1").toString("hex").toUpperCase()}`,
  ).join("");
}

function firstMatch(expression: RegExp, text: string): string {
  return expression.exec(text)?.[0] ?? "";
}
