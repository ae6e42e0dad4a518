import { maskCookies, maskSetCookie } from "./cookies.ts";
import type { NameTest } from "./name-patterns.ts";
import { maskTarget, maskUrlsInHeader } from "./parameters.ts";

/** What is masked in the head of a request or response. Texts have one character per byte. */
export interface HeadRules {
  /** Headers whose whole value is masked. */
  readonly headers?: NameTest;
  readonly cookies?: NameTest;
  /** Parameters of the path, and of URLs in headers. */
  readonly query?: NameTest;
  readonly mask: (value: string) => string;
  /** Masks secrets inside of a value whose name does not give it away. */
  readonly within?: (value: string) => string;
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
export function maskPath(path: string, { query, mask, within }: HeadRules): string {
  return query ? maskTarget(path, { names: query, mask, ...(within && { within }) }) : path;
}

function maskValue(name: string, value: string, { headers, cookies, query, mask, within }: HeadRules): string {
  if (headers?.(name)) return mask(value.trim());
  let masked = value;
  if (cookies) {
    if (isNamed(name, "cookie")) masked = maskCookies(masked, { names: cookies, mask });
    else if (isNamed(name, "set-cookie")) masked = maskSetCookie(masked, { names: cookies, mask });
  }
  if (query) masked = maskUrlsInHeader(masked, { names: query, mask, ...(within && { within }) });
  return within ? within(masked) : masked;
}

function isNamed(name: string, lowerCase: string): boolean {
  return name.length === lowerCase.length && name.toLowerCase() === lowerCase;
}
