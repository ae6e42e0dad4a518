/**
 * Reads bytes, one after the other, from a text with one character per byte. Slow and obvious: it shares no code with the readers
 * that it is compared with. All methods return undefined if the bytes end too early.
 */
export class ByteText {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  byte(): number | undefined {
    return this.isAtEnd ? undefined : this.#text.charCodeAt(this.#at++);
  }

  take(bytes: number | undefined): string | undefined {
    if (bytes === undefined || this.#at + bytes > this.#text.length) return undefined;
    this.#at += bytes;
    return this.#text.slice(this.#at - bytes, this.#at);
  }

  /** SPOE.txt 3.1: below 240 one byte; else up to nine more, each with 7 bits, and the lowest 4 bits of all in the first. */
  integer(): number | undefined {
    let value = this.byte();
    if (value === undefined || value < 240) return value;
    for (let weight = 16, i = 0; i < 9; weight *= 128, i++) {
      const byte = this.byte();
      if (byte === undefined) return undefined;
      value += weight * byte;
      if (byte < 128) return value;
    }
    return undefined;
  }

  /** A text after its length. */
  string(): string | undefined {
    return this.take(this.integer());
  }

  unsigned(bytes: number): number | undefined {
    const text = this.take(bytes);
    return text === undefined ? undefined : [...text].reduce((value, byte) => value * 256 + byte.charCodeAt(0), 0);
  }
}
