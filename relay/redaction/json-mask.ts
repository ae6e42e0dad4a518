import type { JsonKeys } from "./json-keys.ts";
import type { LimitedMask } from "./limited-mask.ts";

export interface JsonRules<Place> {
  readonly keys: JsonKeys<Place>;
  /** A text without quotes and escapes for the value, given without quotes and escapes if it is a string. */
  readonly mask: (value: string) => string;
  /** Masks secrets inside of a string or a number whose key does not give it away. */
  readonly within?: (value: string) => string;
  /** Without it, any number of values is masked. Once it is spent, the text counts as broken. */
  readonly limit?: Pick<LimitedMask, "isSpent">;
}

export interface MaskedJson {
  readonly text: string;
  /** Where the text stops being JSON (RFC 8259); undefined if all of it is. What follows is left out of `text`. */
  readonly brokenAt?: number;
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const byteOrderMark = "\xef\xbb\xbf";
// Sticky, so that each looks at one place only.
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const literal = /true|false|null/y;
const escaped = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y;

/**
 * Masks values in JSON text, also in several values one after the other (NDJSON). All texts have one character per byte. Everything
 * else keeps its bytes. Takes time in proportion to the length, and no stack for nested values.
 */
export function maskJson<Place>(text: string, rules: JsonRules<Place>): MaskedJson {
  return new JsonReader(text, rules).read();
}

class JsonReader<Place> {
  readonly #text: string;
  readonly #rules: JsonRules<Place>;
  readonly #pieces: string[] = [];
  #copied = 0;
  /** The containers around the current place, outermost first. */
  readonly #places: Place[] = [];
  readonly #areObjects: boolean[] = [];
  #place: Place;
  #at: number;
  /** Behind the key that was read last. */
  #nextPlace: Place | undefined;
  /** Whether the next value is masked as a whole. */
  #masksNext = false;
  /** Start and depth of the container that is being masked; -1 without one. */
  #maskedFrom = -1;
  #maskedDepth = -1;

  constructor(text: string, rules: JsonRules<Place>) {
    this.#text = text;
    this.#rules = rules;
    this.#place = rules.keys.root;
    this.#at = text.startsWith(byteOrderMark) ? byteOrderMark.length : 0;
  }

  read(): MaskedJson {
    const text = this.#text;
    // Whether a value or key may come, and whether the container may end here.
    let mayBegin = true;
    let mayEnd = false;
    for (;;) {
      this.#skipSpace();
      const depth = this.#places.length;
      if (this.#rules.limit?.isSpent) return this.#broken(this.#at);
      if (this.#at === text.length) return depth === 0 ? this.#whole() : this.#broken(this.#at);
      const start = this.#at;
      const code = text.charCodeAt(start);
      if (code === closeBrace || code === closeBracket) {
        if (depth === 0 || !mayEnd || this.#areObjects[depth - 1] !== (code === closeBrace)) return this.#broken(start);
        this.#at++;
        this.#leave();
        [mayBegin, mayEnd] = [this.#places.length === 0, true];
        continue;
      }
      if (code === comma) {
        if (depth === 0 || mayBegin) return this.#broken(start);
        this.#at++;
        [mayBegin, mayEnd] = [true, false];
        continue;
      }
      if (!mayBegin) return this.#broken(start);
      if (depth > 0 && this.#areObjects[depth - 1]) {
        if (!this.#readKey()) return this.#broken(start);
        this.#skipSpace();
      }
      const first = text.charCodeAt(this.#at);
      if (first === openBrace || first === openBracket) {
        this.#enter(first === openBrace);
        [mayBegin, mayEnd] = [true, true];
        continue;
      }
      if (!this.#readScalar(first)) return this.#broken(this.#masksNext ? this.#at : start);
      [mayBegin, mayEnd] = [this.#places.length === 0, true];
    }
  }

  #enter(isObject: boolean): void {
    if (this.#masksNext && this.#maskedFrom < 0) {
      this.#maskedFrom = this.#at;
      this.#maskedDepth = this.#places.length;
    }
    this.#masksNext = false;
    this.#places.push(this.#place);
    this.#areObjects.push(isObject);
    if (this.#nextPlace !== undefined) this.#place = this.#nextPlace;
    this.#nextPlace = undefined;
    this.#at++;
  }

  #leave(): void {
    this.#place = this.#places.pop() as Place;
    this.#areObjects.pop();
    if (this.#maskedFrom < 0 || this.#places.length > this.#maskedDepth) return;
    this.#replace(this.#maskedFrom, this.#at, this.#rules.mask(this.#text.slice(this.#maskedFrom, this.#at)));
    this.#maskedFrom = -1;
  }

  /** Reads a key and its colon. */
  #readKey(): boolean {
    const start = this.#at;
    if (this.#text.charCodeAt(start) !== quote) return false;
    const end = this.#endOfString(start);
    if (end < 0) return false;
    this.#at = end;
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#at) !== colon) return false;
    this.#at++;
    if (this.#maskedFrom >= 0) return true;
    this.#nextPlace = this.#rules.keys.enter(this.#place, this.#decode(start, end));
    this.#masksNext = this.#nextPlace === undefined;
    return true;
  }

  #readScalar(first: number): boolean {
    const start = this.#at;
    const end = first === quote ? this.#endOfString(start) : this.#endOfWord();
    if (end < 0) return false;
    this.#at = end;
    if (this.#maskedFrom < 0) {
      const { mask, within } = this.#rules;
      if (this.#masksNext) this.#replace(start, end, mask(this.#decode(start, end)));
      else if (within && first !== 0x74 && first !== 0x66 && first !== 0x6e) {
        const value = this.#decode(start, end);
        const masked = within(value);
        if (masked !== value) this.#replace(start, end, masked);
      }
    }
    this.#masksNext = false;
    this.#nextPlace = undefined;
    return true;
  }

  /** The end of the string that begins here; -1 if it has no valid one. */
  #endOfString(start: number): number {
    const text = this.#text;
    for (let at = start + 1; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === quote) return at + 1;
      if (code < 0x20) return -1;
      if (code !== backslash) continue;
      escaped.lastIndex = at;
      if (!escaped.test(text)) return -1;
      at = escaped.lastIndex - 1;
    }
    return -1;
  }

  #endOfWord(): number {
    const word = this.#text.charCodeAt(this.#at) > 0x39 ? literal : number;
    word.lastIndex = this.#at;
    if (!word.test(this.#text)) return -1;
    // `01` and `nullx` are no JSON.
    const after = this.#text.charCodeAt(word.lastIndex);
    const ends = after <= 0x20 || after === comma || after === closeBrace || after === closeBracket;
    return ends || word.lastIndex === this.#text.length ? word.lastIndex : -1;
  }

  #decode(start: number, end: number): string {
    const text = this.#text.slice(start, end);
    if (this.#text.charCodeAt(start) !== quote) return text;
    if (!text.includes("\\")) return text.slice(1, -1);
    return toBytes(JSON.parse(Buffer.from(text, "latin1").toString()));
  }

  #replace(start: number, end: number, value: string): void {
    this.#pieces.push(this.#text.slice(this.#copied, start), toJsonString(value));
    this.#copied = end;
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #whole(): MaskedJson {
    if (this.#copied === 0) return { text: this.#text };
    return { text: this.#pieces.join("") + this.#text.slice(this.#copied) };
  }

  #broken(at: number): MaskedJson {
    // The rest is a part of the value that is to be masked.
    const start = this.#maskedFrom >= 0 ? this.#maskedFrom : at;
    if (this.#maskedFrom >= 0 || this.#masksNext) {
      this.#replace(start, this.#text.length, this.#rules.mask(this.#text.slice(start)));
      return { text: this.#pieces.join(""), brokenAt: this.#text.length };
    }
    return { text: this.#pieces.join("") + this.#text.slice(this.#copied, start), brokenAt: start };
  }
}

function toBytes(text: string): string {
  return Buffer.from(text).toString("latin1");
}

function toJsonString(bytes: string): string {
  if (/^[\w-]*$/.test(bytes)) return `"${bytes}"`;
  return toBytes(JSON.stringify(Buffer.from(bytes, "latin1").toString()));
}
