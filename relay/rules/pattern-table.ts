import type { RE2JS } from "re2js";

// Instructions of the pattern that are looked at for all entries of its tables. 100 ns each: 40 ms to make the tables. An entry
// has two at least, so that the tables have 0.8 MiB at most.
const maxWork = 400_000;
// Ranges of characters that are sorted into classes in the time of one instruction.
const rangesPerWork = 10;

// How re2js writes these. It does not export the constants.
const unanchored = 0;
const atBeginning = 1 | 4;
const endOfText = -1;

const largestCode = 0xffff;

/** What the tables of one pattern may cost together. */
export class TableBudget {
  #left = maxWork;

  /** False if that is more than is left. */
  take(work: number): boolean {
    this.#left -= work;
    return this.#left >= 0;
  }
}

/**
 * A regular expression as a table of states: the next state for each state and each class of characters. It says whether a
 * text contains a match with one look-up for each character.
 *
 * The whole table is made before the first text is matched. Engines such as re2js and RE2 make it while they match, and then
 * clients can choose texts that make a new state with nearly every character, each at the cost of the whole pattern.
 */
export class PatternTable {
  /** The place of the next row, for each class of each row. The first row is that of no match, the second that of a match. */
  readonly #rows: Uint32Array;
  /** Entries in a row. The last one is for the end of the text. */
  readonly #width: number;
  readonly #start: number;
  /** The class of each character below the last bound. All characters from there on are of one class. */
  readonly #classes: Uint16Array;
  readonly #lastClass: number;

  /** @param start place of the row to begin with */
  private constructor(rows: Uint32Array, width: number, start: number, classes: Uint16Array, lastClass: number) {
    this.#rows = rows;
    this.#width = width;
    this.#start = start;
    this.#classes = classes;
    this.#lastClass = lastClass;
  }

  /** Undefined if the table would cost more than is left of the budget. */
  static of(expression: RE2JS, budget: TableBudget): PatternTable | undefined {
    const { prog } = expression.re2();
    let ranges = 0;
    for (const { runes } of prog.inst) ranges += (runes?.length ?? 0) / 2;
    if (!budget.take(ranges / rangesPerWork)) return undefined;
    const { dfa } = expression.re2();
    const width = dfa.numClasses + 1;
    const first = dfa.makeState([dfa.prog.start], atBeginning, []);
    if (!first) return undefined;
    // Any character of a class stands for all of them.
    const codes = [0, ...dfa.classBounds].map((code, index) => [index, code] as const);
    const classes = [...codes.filter(([, code]) => code <= largestCode), [dfa.numClasses, endOfText] as const];
    const places = new Map<unknown, number>([[first, 2 * width]]);
    const states = [first];
    const rows: number[] = new Array(2 * width).fill(0).fill(width, width);
    for (const state of states) {
      const row: number[] = new Array(width).fill(0);
      for (const [index, code] of classes) {
        const next = dfa.step(state, index, code, unanchored);
        if (!next || !budget.take(1 + state.nfaStates.length + next.nfaStates.length)) return undefined;
        if (next.isMatch) {
          row[index] = width;
        } else if (code !== endOfText) {
          if (!places.has(next)) {
            places.set(next, (states.length + 2) * width);
            states.push(next);
          }
          row[index] = places.get(next) as number;
        }
      }
      for (const place of row) rows.push(place);
    }
    const bounds = dfa.classBounds.filter((bound) => bound <= largestCode);
    return new PatternTable(Uint32Array.from(rows), width, 2 * width, classesBelow(bounds), bounds.length);
  }

  /** Whether the text, or a part of it, matches. */
  matches(text: string): boolean {
    const rows = this.#rows;
    const classes = this.#classes;
    const width = this.#width;
    let row = this.#start;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      row = rows[row + (code < classes.length ? classes[code] : this.#lastClass)];
      if (row <= width) return row === width;
    }
    return rows[row + width - 1] === width;
  }
}

function classesBelow(bounds: Int32Array): Uint16Array {
  const classes = new Uint16Array(bounds.at(-1) ?? 0);
  for (const [index, bound] of bounds.entries()) classes.fill(index + 1, bound);
  return classes;
}
