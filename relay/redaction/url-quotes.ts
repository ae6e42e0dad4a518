const blanks = codesOf(" \t");
const marks = codesOf("?#");
const quotes = codesOf("\"'");
const openAngle = 0x3c;
const closeAngle = 0x3e;

/**
 * Follows the value of a header to tell what ends a URL in it: the character that closes what was opened right before the URL, as in
 * `<https://shop.example/?a=b>`. A URL may contain the same characters, so they end no other.
 */
export class UrlQuotes {
  /** What ends the URL; -1 if only a blank does. Not 0: a value may contain NUL. */
  #closing = -1;
  #inUrl = false;

  /** Passes a character that separates parameters, and the one before it. */
  pass(code: number, before: number): void {
    if (blanks[code] || code === this.#closing) {
      this.#closing = -1;
      this.#inUrl = false;
    } else if (marks[code]) this.#inUrl = true;
    else if (this.#inUrl) return;
    else if (code === openAngle) this.#closing = closeAngle;
    else if (quotes[code] && this.#closing < 0 && !/[\w/.~%-]/.test(String.fromCharCode(before))) this.#closing = code;
  }

  isEnd(code: number): boolean {
    return blanks[code] || code === this.#closing;
  }
}

function codesOf(characters: string): readonly boolean[] {
  const codes = new Array<boolean>(256).fill(false);
  for (const character of characters) codes[character.charCodeAt(0)] = true;
  return codes;
}
