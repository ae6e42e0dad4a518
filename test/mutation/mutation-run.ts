import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Mutant, Sample } from "./sample.ts";
import { strykerModule } from "./stryker-release.ts";

export const root = resolve(import.meta.dirname, "../..");

export interface MutationRun {
  /** Files to mutate, from the root. */
  readonly files: readonly string[];
  /** Globs of test files, from the root. */
  readonly tests: readonly string[];
  readonly sample: Sample;
}

/** The fate of a mutant: `NoCoverage` if no test runs its code, `Timeout` if the tests do not end. */
export type MutantStatus = "Killed" | "Survived" | "NoCoverage" | "Timeout" | "RuntimeError";

export interface TestedMutant extends Mutant {
  readonly status: MutantStatus;
}

interface StrykerResult extends Mutant {
  readonly status: MutantStatus | "CompileError" | "Ignored";
}

// A mutant that only makes the tests slower, or a busy machine, must not look like an endless loop.
const timeoutMS = 60_000;

/**
 * Tests the mutants of a sample. Mutants in code that runs when a module is loaded are left out: each would need a new process
 * with all tests. Rejects if a test fails without any mutant.
 */
export async function runMutants({ files, tests, sample }: MutationRun): Promise<readonly TestedMutant[]> {
  // Checkers and tests run in processes of their own, which inherit it.
  process.env.MUTATION_SAMPLE = JSON.stringify(sample);
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-mutation-"));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  // After a signal, Stryker ends the process.
  process.once("exit", remove);
  try {
    const { Stryker } = await import(pathToFileURL(strykerModule("core")).href);
    const results: readonly StrykerResult[] = await new Stryker({
      mutate: files,
      testFiles: tests,
      testRunner: "vitest",
      // In processes, like all tests: threads cannot change their user or directory.
      vitest: { configFile: "test/mutation/vitest.config.ts", related: false, pool: "forks" },
      plugins: [strykerModule("vitest-runner"), join(import.meta.dirname, "sample-checker.ts")],
      checkers: ["sample"],
      coverageAnalysis: "perTest",
      ignoreStatic: true,
      // A second runner would only make the first one slower: a run of the tests already uses more than one core.
      concurrency: 1,
      timeoutMS,
      timeoutFactor: 3,
      // Node runs the files as they are. Stryker would read tsconfig.json with an API that TypeScript 7 does not have.
      tsconfigFile: "none.json",
      disableTypeChecks: false,
      ignorePatterns: ["/dist", "/cdk.out", "/data", "/spoa-relay-data"],
      tempDirName: directory,
      reporters: process.stderr.isTTY ? ["progress"] : [],
      logLevel: "error",
      warnings: false,
    }).runMutationTest();
    return results.filter(isTested).map(toTested);
  } finally {
    process.off("exit", remove);
    remove();
  }
}

function isTested(result: StrykerResult): result is TestedMutant {
  // A CompileError is a mutant that is not in the sample: see sample-checker.ts.
  return result.status !== "CompileError" && result.status !== "Ignored";
}

/** Results count lines and columns from 1, mutants from 0. */
function toTested({
  fileName,
  location: { start, end },
  mutatorName,
  replacement,
  status,
}: TestedMutant): TestedMutant {
  const location = {
    start: { line: start.line - 1, column: start.column - 1 },
    end: { line: end.line - 1, column: end.column - 1 },
  };
  return { fileName: relative(root, resolve(fileName)), location, mutatorName, replacement, status };
}
