import type { ByteStream } from "../byte-stream.ts";

export type JsonElement =
  | {
      readonly kind: "element";
      /** Undefined if the element is longer than `maxBytes`. */
      readonly text: string | undefined;
      readonly place: ElementPlace;
    }
  /** The stream ended before the end of the array, or has no such array. */
  | { readonly kind: "end"; readonly reason: string; readonly within?: ElementPlace };

export interface ElementPlace {
  /** 1 for the first. */
  readonly number: number;
  /** Offset of its first byte in the stream. */
  readonly offset: number;
}

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];
const maxKeyBytes = 64;

/**
 * Yields the elements of the array under the keys `path` of a JSON document, with only one of them in memory. Does not
 * check the JSON outside the array.
 */
export async function* splitJsonArray(
  stream: ByteStream,
  path: readonly string[],
  maxBytes: number,
): AsyncGenerator<JsonElement> {
  const scanner = new JsonScanner(path, maxBytes);
  for await (const chunk of stream) yield* scanner.scan(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
  const flaw = scanner.findFlaw();
  if (flaw) yield flaw;
}

class JsonScanner {
  readonly #path: readonly string[];
  readonly #maxBytes: number;
  /** Number of open braces and brackets before the array. */
  #depth = 0;
  /** Number of open braces and brackets in the current element. */
  #braces = 0;
  #brackets = 0;
  /** How many keys of the path match the open objects around the current position; unused once the array is found. */
  #matched = 0;
  #state: "before" | "within" | "after" = "before";
  #inString = false;
  #escaped = false;
  #key: number[] = [];
  #lastKey = "";
  #number = 0;
  #streamOffset = 0;
  /** Start of the current element; -1 between elements. */
  #startOffset = -1;
  #parts: Buffer[] = [];
  #partBytes = 0;

  constructor(path: readonly string[], maxBytes: number) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  /** The caller must not change the chunk before it asks for the next element. */
  *scan(chunk: Buffer): Generator<JsonElement> {
    let elementAt = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      if (this.#state !== "within") {
        this.#seek(byte);
        continue;
      }
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inString = false;
        continue;
      }
      const atTop = this.#braces === 0 && this.#brackets === 0;
      if (atTop && (byte === comma || byte === closeBracket)) {
        if (this.#startOffset >= 0) yield this.#finish(chunk.subarray(elementAt, i));
        if (byte === closeBracket) this.#state = "after";
        continue;
      }
      if (this.#startOffset < 0) {
        if (isSpace(byte)) continue;
        this.#startOffset = this.#streamOffset + i;
        elementAt = i;
      }
      if (byte === quote) this.#inString = true;
      else if (byte === openBrace) this.#braces++;
      else if (byte === openBracket) this.#brackets++;
      // An unmatched closing bracket belongs to a broken element. If it closed the array, all later elements would be
      // lost.
      else if (byte === closeBrace && this.#braces > 0) this.#braces--;
      else if (byte === closeBracket && this.#brackets > 0) this.#brackets--;
    }
    if (this.#state === "within" && this.#startOffset >= 0) this.#keep(chunk.subarray(elementAt));
    this.#streamOffset += chunk.length;
  }

  /** Reports a missing or unfinished array after the end of the stream. */
  findFlaw(): Extract<JsonElement, { readonly kind: "end" }> | undefined {
    if (this.#state === "after") return undefined;
    const kind = "end";
    if (this.#state === "before") return { kind, reason: `the document has no array ${this.#path.join(".")}` };
    if (this.#startOffset < 0) return { kind, reason: "the file ends within the list of entries" };
    const within = { number: this.#number + 1, offset: this.#startOffset };
    return { kind, reason: "the file ends within an entry", within };
  }

  /** Looks for the array: a key counts only if all keys above it match the path. */
  #seek(byte: number): void {
    if (this.#state === "after") return;
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === backslash) this.#escaped = true;
      else if (byte === quote) this.#inString = false;
      else if (this.#key.length < maxKeyBytes) this.#key.push(byte);
    } else if (byte === quote) {
      this.#inString = true;
      this.#key = [];
    } else if (byte === colon) {
      this.#lastKey = String.fromCharCode(...this.#key);
    } else if (byte === comma) {
      this.#lastKey = "";
    } else if (byte === openBrace || byte === openBracket) {
      this.#open(byte);
    } else if (byte === closeBrace || byte === closeBracket) {
      this.#depth = Math.max(0, this.#depth - 1);
      this.#matched = Math.min(this.#matched, Math.max(0, this.#depth - 1));
      this.#lastKey = "";
    }
  }

  #open(byte: number): void {
    const onPath = this.#depth > 0 && this.#matched === this.#depth - 1 && this.#lastKey === this.#path[this.#matched];
    if (onPath) this.#matched++;
    this.#depth++;
    this.#lastKey = "";
    if (onPath && this.#matched === this.#path.length && byte === openBracket) this.#state = "within";
  }

  #keep(part: Buffer): void {
    this.#partBytes += part.length;
    if (this.#partBytes > this.#maxBytes) this.#parts = [];
    // Copied, because the owner of the chunk may reuse its memory.
    else this.#parts.push(Buffer.from(part));
  }

  #finish(part: Buffer): JsonElement {
    this.#keep(part);
    const text = this.#partBytes > this.#maxBytes ? undefined : Buffer.concat(this.#parts).toString();
    const offset = this.#startOffset;
    this.#parts = [];
    this.#partBytes = 0;
    this.#startOffset = -1;
    return { kind: "element", text, place: { number: ++this.#number, offset } };
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
