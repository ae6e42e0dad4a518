import type { Mask } from "./mask.ts";
import { isNamedBy } from "./name-pattern.ts";

export interface ParameterRules {
  readonly names: readonly string[];
  readonly mask: Mask;
  /** For the fields of forms: masks a value that begins as JSON. */
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
    if (equals >= 0 && isNamedInBrackets(percentDecoded(name.slice(0, -1)).trim(), rules.names)) {
      // The other separators may be a part of the value: all of it is masked.
      value = firstMatch(/^[^&]*/, rest.slice(name.length));
      masked += name + rules.mask.of(percentDecoded(value));
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

export function isNamedInBrackets(name: string, names: readonly string[]): boolean {
  const parts = name.includes("[") ? name.split("[").flatMap((part) => part.split("]")) : [];
  return isNamedBy(names, name) || parts.some((part) => part !== "" && isNamedBy(names, part));
}

export function percentDecoded(text: string): string {
  return text.replace(/\+|%[0-9a-fA-F]{2}/g, (code) =>
    code === "+" ? " " : Buffer.from(code.slice(1), "hex").toString("latin1"),
  );
}

/** A value may be JSON, or a URL with parameters of its own. */
function maskInside(value: string, rules: ParameterRules, encodings: number): string {
  const decoded = percentDecoded(value);
  const json = rules.json?.(decoded);
  if (json !== undefined) return json === decoded ? value : percentEncoded(json);
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
