import { PatternError } from "./pattern-error.ts";
import { tokensOf } from "./pattern-tokens.ts";

const maxChars = 4_096;
const maxWrittenOut = 10_000;
// With (?i), each of them can take 3 ms to compile.
const maxUnicode = 16;

/** Throws `PatternError` for a pattern that would take long to compile: more than some 20 ms. */
export function assertCompilesSoon(source: string): void {
  if (source.length > maxChars) {
    throw new PatternError(source, `it has ${source.length} characters, and may have ${maxChars}`);
  }
  if ([...source.matchAll(/\\(?:[pP]|x\{|u(?!00))|[^\0-\xff]/g)].length > maxUnicode) {
    throw new PatternError(
      source,
      `it has more than ${maxUnicode} \\p, \\x{…} and characters that no byte is: texts are bytes`,
    );
  }
  if (writtenOutLength(source) > maxWrittenOut) {
    throw new PatternError(
      source,
      `it would have more than ${maxWrittenOut} characters if its repeats with a number were written out`,
    );
  }
}

/** How long a pattern is if `(ab){3}` is written as `(ab)(ab)(ab)`. At least as long as the pattern. */
function writtenOutLength(pattern: string): number {
  const outer: number[] = [];
  let [length, last] = [0, 0];
  for (const { text, at } of tokensOf(pattern)) {
    if (text === "(") {
      outer.push(length);
      [length, last] = [0, 1];
    } else if (text === ")" && outer.length > 0) {
      last = length + 1;
      length = (outer.pop() as number) + last;
    } else if (text === "{") {
      const [, least, most] = /^\{(\d+),?(\d*)\}/.exec(pattern.slice(at, at + 12)) ?? [];
      length += last * Math.max(0, Number(most || least || 1) - 1) + 1;
    } else {
      last = 1;
      length += 1;
    }
  }
  return outer.reduce((sum, each) => sum + each, length);
}
