import type { RE2JS } from "re2js";

// Limits of one table: 4 MiB, and a third of a second to make it.
const maxStates = 10_000;
const maxEntries = 1_000_000;
// Instructions of the pattern that are looked at in all states together.
const maxWork = 2_000_000;

// How re2js writes these. It does not export the constants.
const unanchored = 0;
const atBeginning = 1 | 4;
const endOfText = -1;

const largestCode = 0xffff;
const latin1Codes = 256;

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
  readonly #latin1: Uint16Array;
  readonly #bounds: Int32Array;

  /** @param start place of the row to begin with */
  private constructor(rows: Uint32Array, width: number, start: number, latin1: Uint16Array, bounds: Int32Array) {
    this.#rows = rows;
    this.#width = width;
    this.#start = start;
    this.#latin1 = latin1;
    this.#bounds = bounds;
  }

  /** Undefined if the table would be too large. */
  static of(expression: RE2JS): PatternTable | undefined {
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
    let work = 0;
    for (const state of states) {
      work += (state.nfaStates.length + 1) * classes.length;
      if (states.length > maxStates || states.length * width > maxEntries || work > maxWork) return undefined;
      const row: number[] = new Array(width).fill(0);
      for (const [index, code] of classes) {
        const next = dfa.step(state, index, code, unanchored);
        if (!next) return undefined;
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
    const latin1 = Uint16Array.from({ length: latin1Codes }, (_, code) => dfa.runeClass(code));
    return new PatternTable(Uint32Array.from(rows), width, 2 * width, latin1, dfa.classBounds);
  }

  /** Whether the text, or a part of it, matches. */
  matches(text: string): boolean {
    const rows = this.#rows;
    const latin1 = this.#latin1;
    const width = this.#width;
    let row = this.#start;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      row = rows[row + (code < latin1Codes ? latin1[code] : this.#classOf(code))];
      if (row <= width) return row === width;
    }
    return rows[row + width - 1] === width;
  }

  #classOf(code: number): number {
    let [low, high] = [0, this.#bounds.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#bounds[middle] <= code) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
