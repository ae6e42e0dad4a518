import { RE2JS, RE2JSException } from "re2js";
import { type LookAhead, splitLookAheads } from "./look-ahead.ts";
import { PatternError } from "./pattern-error.ts";
import { assertCompilesSoon } from "./pattern-size.ts";
import { PatternTable, TableBudget } from "./pattern-table.ts";

/** No pattern matches a longer text: each table takes 3 ns for each character, and HAProxy has to be answered. */
export const maxTextChars = 65_536;

// Of a rewrite, 25 ns each: 50 ms.
const maxSteps = 2_097_152;
const minRewrittenChars = 4_096;

/**
 * A regular expression for text that clients send. Whatever pattern and text are, it takes time in proportion to the length of
 * the text. JavaScript's own engine tries alternatives one after the other: a pattern such as `^(\w+/?)*$` keeps it busy for
 * hours with a text of 60 characters.
 *
 * Results are those of JavaScript, but for what relay/README.md lists.
 */
export class Pattern {
  /** As it was written. */
  readonly source: string;
  readonly #conditions: readonly Condition[];

  /** Throws `PatternError`. */
  constructor(source: string) {
    assertCompilesSoon(source);
    const { lookAheads, rest } = splitLookAheads(source);
    this.source = source;
    const budget = new TableBudget();
    this.#conditions =
      lookAheads.length === 0
        ? [{ table: toTable(compileExpression(source), budget), wanted: true }]
        : [...lookAheads, { pattern: rest, wanted: true }].map((part) => toCondition(part, budget));
  }

  /** Whether the text, or a part of it, matches. False if it is longer than `maxTextChars`. */
  test(text: string): boolean {
    if (text.length > maxTextChars) return false;
    for (const { table, wanted } of this.#conditions) if (table.matches(text) !== wanted) return false;
    return true;
  }
}

/** A regular expression that finds the part of a text to replace. */
export class Rewrite {
  readonly source: string;
  readonly #expression: RE2JS;
  readonly #table: PatternTable;
  readonly #maxTextChars: number;

  /** Throws `PatternError`. */
  constructor(source: string) {
    assertCompilesSoon(source);
    if (splitLookAheads(source).lookAheads.length > 0)
      throw new PatternError(source, "it cannot have a look-ahead (?=…)");
    this.source = source;
    this.#expression = compileExpression(source);
    this.#table = toTable(this.#expression, new TableBudget());
    this.#maxTextChars = longestText(this.#expression);
    if (this.#maxTextChars < minRewrittenChars) {
      throw new PatternError(source, "it is too long, or has too many groups, for a rewrite");
    }
  }

  /**
   * The text with its first match replaced, as `String.replace` does it: `$1` is the first group, `$&` the match. A text that
   * is longer than `longestText` stays as it is.
   */
  replace(text: string, replacement: string): string {
    if (text.length > this.#maxTextChars || !this.#table.matches(text)) return text;
    return this.#expression.matcher(text).replaceFirst(replacement);
  }
}

interface Condition {
  readonly table: PatternTable;
  readonly wanted: boolean;
}

// Both begin at the beginning of the text, so that they can be matched one after the other.
function toCondition({ pattern, wanted }: LookAhead, budget: TableBudget): Condition {
  return { table: toTable(compileExpression(`^(?:${pattern})`), budget), wanted };
}

/**
 * Characters that a rewrite looks at. To find groups, re2js takes each instruction for each character, and copies the places of
 * all groups each time. It takes one if the expression is `onepass`: at most one instruction can be right for a character.
 */
function longestText(expression: RE2JS): number {
  const { prog, onepass } = expression.re2();
  if (onepass) return maxTextChars;
  return Math.min(maxTextChars, Math.floor(maxSteps / (prog.inst.length * (1 + prog.numCap / 8))));
}

function compileExpression(source: string): RE2JS {
  try {
    return RE2JS.compile(RE2JS.translateRegExp(source));
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new PatternError(source, error.message.replace("error parsing regexp: ", ""), { cause: error });
  }
}

function toTable(expression: RE2JS, budget: TableBudget): PatternTable {
  const table = PatternTable.of(expression, budget);
  if (table) return table;
  throw new PatternError(
    expression.pattern(),
    "it would need too much time or memory: write + or * for a repeat with a number, such as {1,64}, or begin it with ^",
  );
}
