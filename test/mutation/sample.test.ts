import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSampled, type Mutant, mutantDigest } from "./sample.ts";

function mutant(changes: Partial<Mutant> = {}): Mutant {
  const location = { start: { line: 4, column: 2 }, end: { line: 4, column: 7 } };
  return { fileName: "relay/clock.ts", location, mutatorName: "EqualityOperator", replacement: "a <= b", ...changes };
}

const mutants = Array.from({ length: 1_000 }, (_, i) => mutant({ replacement: `a <= ${i}` }));

describe("a sample", () => {
  it("has its share of the mutants, which a larger share contains", () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(share, share, fc.nat(), (a, b, seed) => {
        const [small, large] = [Math.min(a, b), Math.max(a, b)].map((share) =>
          mutants.filter((each) => isSampled(each, { share, seed })),
        );
        // Five standard deviations.
        expect(Math.abs(large.length - Math.max(a, b) * mutants.length)).toBeLessThan(
          5 * Math.sqrt(mutants.length / 4),
        );
        expect(small.filter((each) => !large.includes(each))).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  it("is another one for another seed", () => {
    const drawn = [1, 2].map((seed) => mutants.filter((each) => isSampled(each, { share: 0.5, seed })));

    expect(drawn[0].filter((each) => drawn[1].includes(each)).length).toBeLessThan(0.6 * drawn[0].length);
  });

  it("of digests has exactly the mutants that they name", () => {
    const others = [
      mutant({ fileName: "relay/sqlite.ts" }),
      mutant({ replacement: "a > b" }),
      mutant({ mutatorName: "Regex" }),
      mutant({ location: { start: { line: 4, column: 2 }, end: { line: 5, column: 7 } } }),
    ];
    const digests = [mutantDigest(mutant())];

    expect(isSampled(mutant(), { digests })).toBe(true);
    expect(others.some((other) => isSampled(other, { digests }))).toBe(false);
  });
});
