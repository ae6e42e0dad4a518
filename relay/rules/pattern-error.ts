const maxQuotedChars = 150;

/** A regular expression that cannot be used for text of clients. The message quotes it and says why. */
export class PatternError extends Error {
  override readonly name = "PatternError";
  readonly reason: string;

  constructor(source: string, reason: string, options?: ErrorOptions) {
    super(`"${shorten(source)}" is not a regular expression that can be used: ${shorten(reason)}`, options);
    this.reason = shorten(reason);
  }
}

function shorten(text: string): string {
  return text.length > maxQuotedChars ? `${text.slice(0, maxQuotedChars)}…` : text;
}
