import type { Mask } from "./mask.ts";
import { isNamedBy } from "./name-pattern.ts";
import { Unspecified } from "./unspecified.ts";

const blank = /[ \t\r\n]*/y;
const string = /"(?:[^"\\\p{Cc}]|[\x7f-\x9f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const word = /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?=[\0- ,\]}]|$)/y;
const deepest = 200;

/** A text with JSON values one after the other, with the values at the paths masked; undefined if it is no JSON (RFC 8259). */
export function maskJson(text: string, paths: readonly (readonly string[])[], mask: Mask): string | undefined {
  return new JsonText(text, paths, mask).masked();
}

/** Whether the keys that lead to a value are what the path says. `**` stands for any number of keys. */
function isAtPath([step, ...others]: readonly string[], keys: readonly string[]): boolean {
  if (step === undefined) return keys.length === 0;
  const below = keys.slice(1);
  if (step === "**") return isAtPath(others, keys) || (keys.length > 0 && isAtPath([step, ...others], below));
  return keys.length > 0 && isNamedBy([step], keys[0]) && isAtPath(others, below);
}

/** Reads value by value, each with the keys that lead to it; undefined for what is no JSON. */
class JsonText {
  readonly #text: string;
  readonly #paths: readonly (readonly string[])[];
  readonly #mask: Mask;
  #at = 0;

  constructor(text: string, paths: readonly (readonly string[])[], mask: Mask) {
    this.#text = text;
    this.#paths = paths;
    this.#mask = mask;
  }

  masked(): string | undefined {
    let all = this.#text.startsWith("\xef\xbb\xbf") ? this.#take(/\xef\xbb\xbf/y) : "";
    for (;;) {
      all += this.#take(blank);
      if (this.#at === this.#text.length) return all;
      const value = this.#value([]);
      if (value === undefined) return undefined;
      all += value;
    }
  }

  /** With `keys` undefined, nothing in the value is masked. */
  #value(keys: readonly string[] | undefined, depth = 0): string | undefined {
    if (depth > deepest) throw new Unspecified("JSON with many levels");
    const [open] = this.#text.slice(this.#at, this.#at + 1);
    if (open === "{" || open === "[") return this.#container(open, keys, depth);
    return this.#take(open === '"' ? string : word) || undefined;
  }

  #container(open: "{" | "[", keys: readonly string[] | undefined, depth: number): string | undefined {
    const close = open === "{" ? /\}/y : /\]/y;
    let all = this.#take(/[[{]/y) + this.#take(blank);
    for (let end = this.#take(close); end === ""; end = this.#take(close)) {
      const isFirst = /^[[{]\s*$/.test(all);
      const comma = isFirst ? "" : this.#take(/,[ \t\r\n]*/y);
      if (comma === "" && !isFirst) return undefined;
      const element = open === "{" ? this.#member(keys, depth) : this.#value(keys, depth + 1);
      if (element === undefined) return undefined;
      all += comma + element + this.#take(blank);
    }
    return `${all}${open === "{" ? "}" : "]"}`;
  }

  #member(keys: readonly string[] | undefined, depth: number): string | undefined {
    const key = this.#take(string);
    const colon = key && this.#take(/[ \t\r\n]*:[ \t\r\n]*/y);
    if (!colon) return undefined;
    const path = keys && [...keys, unescaped(key)];
    const isSecret = path && this.#paths.some((steps) => isAtPath(steps, path));
    const value = this.#value(isSecret ? undefined : path, depth + 1);
    if (value === undefined) return undefined;
    return key + colon + (isSecret ? `"${this.#mask.of(value.startsWith('"') ? unescaped(value) : value)}"` : value);
  }

  /** Empty if the expression does not match here. */
  #take(expression: RegExp): string {
    expression.lastIndex = this.#at;
    const [found] = expression.exec(this.#text) ?? [""];
    this.#at += found.length;
    return found;
  }
}

/** The bytes of a string in quotes. */
function unescaped(quoted: string): string {
  if (!quoted.includes("\\")) return quoted.slice(1, -1);
  return Buffer.from(JSON.parse(Buffer.from(quoted, "latin1").toString("utf8")), "utf8").toString("latin1");
}
