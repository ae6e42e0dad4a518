import { maskCookies, maskSetCookie } from "./cookies.ts";
import type { LimitedMask } from "./limited-mask.ts";
import { createNameTest, type NameTest } from "./name-patterns.ts";
import { hasPathParameters, maskTarget, maskUrlsInHeader, mayHaveParameters } from "./parameters.ts";

/** Headers without which nobody can tell where a request goes, where it ends, and what its body is. */
export const isFraming = createNameTest(["host", "content-type", "content-length", "transfer-encoding"]);

/** What is masked in the head of a request or response. Texts have one character per byte. */
export interface HeadRules {
  /** Headers whose whole value is masked, apart from Host, Content-Type, Content-Length and Transfer-Encoding. */
  readonly headers?: NameTest;
  readonly cookies?: NameTest;
  /** Parameters of the path, and of URLs in headers. */
  readonly query?: NameTest;
  readonly mask: (value: string) => string;
  /** Masks secrets inside of a value whose name does not give it away. */
  readonly within?: (value: string) => string;
  /** Without it, everything is read, and masked value by value. */
  readonly limit?: LimitedMask;
}

/** Masks values in name, value, name, value, …; returns the same list if there are none. */
export function maskHeaders(headers: readonly string[], rules: HeadRules): readonly string[] {
  let masked: string[] | undefined;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const value = maskValue(headers[i], headers[i + 1], rules);
    if (value === headers[i + 1]) continue;
    masked ??= [...headers];
    masked[i + 1] = value;
  }
  return masked ?? headers;
}

/** Masks values in path and query. */
export function maskPath(path: string, { query, mask, within, limit }: HeadRules): string {
  if (!query) return path;
  if (limit?.mayRead(path.length) !== false) {
    return maskTarget(path, { names: query, mask, ...(within && { within }), ...(limit && { limit }) });
  }
  const end = path.search(/[;?#]/);
  return end < 0 ? path : path.slice(0, end + 1) + mask(path.slice(end + 1));
}

function maskValue(name: string, value: string, rules: HeadRules): string {
  const { headers, cookies, query, mask, within, limit } = rules;
  if (headers?.(name) && !isFraming(name)) return mask(value.trim());
  const isCookie = isNamed(name, "cookie") || isNamed(name, "set-cookie");
  const hasCookies = cookies && isCookie;
  // Between cookies, a semicolon ends the URL before it.
  const mayHaveUrl = mayHaveParameters(value) || (!isCookie && hasPathParameters(value));
  const hasParameters = query && mayHaveUrl && !isFraming(name);
  let masked = value;
  if (hasCookies || hasParameters) {
    if (limit?.mayRead(value.length) === false) return mask(value);
    const limited = { mask, ...(limit && { limit }) };
    if (hasCookies) {
      const maskPairs = isNamed(name, "cookie") ? maskCookies : maskSetCookie;
      masked = maskPairs(masked, { ...limited, names: cookies });
    }
    if (hasParameters) masked = maskUrlsInHeader(masked, { ...limited, names: query, ...(within && { within }) });
  }
  return within ? within(masked) : masked;
}

function isNamed(name: string, lowerCase: string): boolean {
  return name.length === lowerCase.length && name.toLowerCase() === lowerCase;
}
