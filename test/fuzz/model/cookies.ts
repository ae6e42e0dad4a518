import type { Mask } from "./mask.ts";
import { isNamedInBrackets, percentDecoded } from "./parameters.ts";

const attribute = /^(expires|max-age|domain|path|secure|httponly|samesite|partitioned|priority)$/i;

/** A Cookie or Set-Cookie header with the values of the named cookies masked. */
export function maskCookies(
  header: "cookie" | "set-cookie",
  text: string,
  names: readonly string[],
  mask: Mask,
): string {
  let masked = "";
  let rest = text;
  let isFirst = true;
  // `Expires=Wed, 21 Oct …`: behind the comma is the rest of the date, and no cookie.
  let isDate = false;
  while (rest !== "") {
    const [pair = ""] = /^[^;,]*/.exec(rest) ?? [];
    const equals = pair.indexOf("=");
    const name = pair.slice(0, Math.max(equals, 0)).trim();
    const isAttribute = header === "set-cookie" && !isFirst && attribute.test(equals < 0 ? pair.trim() : name);
    const isSecret = [name, percentDecoded(name)].some((each) => isNamedInBrackets(each, names));
    let taken = pair;
    if (isSecret && !isAttribute && !(isDate && equals < 0) && pair.trim() !== "") {
      const [head = ""] = /^(?:[^=;,]*=)?[ \t]*/.exec(equals < 0 ? "" : pair) ?? [];
      const blanks = equals < 0 ? (/^[ \t]*/.exec(pair)?.[0] ?? "") : head;
      // A quoted value ends behind its quote, so it may contain semicolons; no value ends at a comma.
      const [value = ""] = /^(?:"(?:[^"\\]|\\[\s\S])*"[^;]*|[^;]*)/.exec(rest.slice(blanks.length)) ?? [];
      masked += blanks + mask.of(value.trim().replace(/^"([\s\S]*)"$/, "$1"));
      taken = blanks + value;
    } else {
      masked += pair;
    }
    rest = rest.slice(taken.length);
    isDate = header === "set-cookie" && isAttribute && name.toLowerCase() === "expires" && rest.startsWith(",");
    masked += rest.slice(0, 1);
    rest = rest.slice(1);
    isFirst = false;
  }
  return masked;
}
