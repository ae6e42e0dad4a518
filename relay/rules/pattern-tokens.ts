/** A character of a pattern, with its backslash if it is escaped. Of a [class] only the `[` is one, and in \Q…\E each is `\Q`. */
export interface PatternToken {
  readonly text: string;
  readonly at: number;
}

export function* tokensOf(pattern: string, start = 0): Generator<PatternToken> {
  let inClass = false;
  for (let at = start; at < pattern.length; at++) {
    if (!inClass && pattern.startsWith("\\Q", at)) {
      const end = pattern.indexOf("\\E", at);
      const last = end < 0 ? pattern.length : end;
      for (at += 2; at < last; at++) yield { text: "\\Q", at };
      at++;
      continue;
    }
    const text = pattern[at] === "\\" ? pattern.slice(at, at + 2) : pattern[at];
    if (!inClass) yield { text, at };
    if (text === "[") inClass = true;
    else if (text === "]") inClass = false;
    at += text.length - 1;
  }
}
