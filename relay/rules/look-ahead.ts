import { PatternError } from "./pattern-error.ts";
import { tokensOf } from "./pattern-tokens.ts";

// The table of each one is looked up for every character of a text.
const maxLookAheads = 8;

/** What a text has to match, or not to match, from its beginning. */
export interface LookAhead {
  readonly pattern: string;
  readonly wanted: boolean;
}

/**
 * Takes the look-aheads off a pattern that begins with them, such as `^(?!/health|/metrics)`: they and the rest can be matched
 * one after the other. Throws `PatternError` if the pattern has others, a look-behind or a back-reference: no engine can match
 * all of these in time in proportion to the text.
 */
export function splitLookAheads(source: string): { readonly lookAheads: readonly LookAhead[]; readonly rest: string } {
  const lookAheads: LookAhead[] = [];
  let start = source.startsWith("^") ? 1 : 0;
  while (start > 0 && /^\(\?[=!]/.test(source.slice(start, start + 3))) {
    const end = findEndOfGroup(source, start);
    if (end === undefined) throw new PatternError(source, "a ) is missing");
    const pattern = source.slice(start + 3, end - 1);
    assertPlain(source, pattern);
    lookAheads.push({ pattern, wanted: source[start + 2] === "=" });
    start = end;
  }
  if (lookAheads.length > maxLookAheads) {
    throw new PatternError(
      source,
      `it has ${lookAheads.length} look-aheads, and may have ${maxLookAheads}: write (?!A|B) for (?!A)(?!B)`,
    );
  }
  const rest = source.slice(start);
  assertPlain(source, rest);
  if (lookAheads.length > 0 && hasAlternatives(rest)) {
    throw new PatternError(source, "after a look-ahead, alternatives need brackets: ^(?!…)(?:A|B)");
  }
  return { lookAheads, rest };
}

function assertPlain(source: string, part: string): void {
  for (const { text, at } of tokensOf(part)) {
    const unknown = text === "(" ? /^\(\?(?:[=!]|<[=!])/.exec(part.slice(at, at + 4)) : null;
    if (unknown) {
      const mistake = unknown[0].startsWith("(?<")
        ? `look-behind ${unknown[0]}…): write what is before it into the pattern`
        : `look-ahead ${unknown[0]}…): it can only be right after a ^ at the beginning`;
      throw new PatternError(source, `it has the ${mistake}`);
    }
    if (/^\\[1-9k]/.test(text))
      throw new PatternError(source, `it has the back-reference ${text}: write out what it repeats`);
  }
}

function hasAlternatives(pattern: string): boolean {
  let depth = 0;
  for (const { text } of tokensOf(pattern)) {
    if (text === "(") depth++;
    else if (text === ")") depth--;
    else if (text === "|" && depth === 0) return true;
  }
  return false;
}

/** The place after the `)` of the group that begins at `start`. */
function findEndOfGroup(source: string, start: number): number | undefined {
  let depth = 0;
  for (const { text, at } of tokensOf(source, start)) {
    if (text === "(") depth++;
    else if (text === ")" && --depth === 0) return at + 1;
  }
  return undefined;
}
