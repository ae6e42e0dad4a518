import { relative } from "node:path";
import { isSampled, type Mutant, type Sample } from "./sample.ts";

// A plugin for Stryker, which asks its checkers about each mutant before it runs the tests: usually, whether the mutant compiles.
// This one skips what is not in the sample. Stryker's ranges of lines and its ignorers cannot do that: they take or leave whole
// subtrees.

type Check = { readonly status: "passed" } | { readonly status: "compileError"; readonly reason: string };

type IdentifiedMutant = Mutant & { readonly id: string };

function createSampleChecker() {
  const sample: Sample = JSON.parse(process.env.MUTATION_SAMPLE ?? "");
  const check = (mutant: Mutant): Check =>
    isSampled({ ...mutant, fileName: relative(process.cwd(), mutant.fileName) }, sample)
      ? { status: "passed" }
      : { status: "compileError", reason: "not in the sample" };
  return {
    init: async (): Promise<void> => {},
    // All at once: by default, Stryker asks for each mutant on its own.
    group: async (mutants: readonly IdentifiedMutant[]): Promise<string[][]> => [mutants.map(({ id }) => id)],
    check: async (mutants: readonly IdentifiedMutant[]): Promise<Record<string, Check>> =>
      Object.fromEntries(mutants.map((mutant) => [mutant.id, check(mutant)])),
  };
}
// Stryker reads from it what to pass: nothing.
createSampleChecker.inject = [] as readonly string[];

export const strykerPlugins = [{ kind: "Checker", name: "sample", factory: createSampleChecker }];
