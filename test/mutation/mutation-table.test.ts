import { describe, expect, it } from "vitest";
import type { MutantStatus, TestedMutant } from "./mutation-run.ts";
import { formatSurvivors, formatTable } from "./mutation-table.ts";

function mutants(status: MutantStatus, count: number, changes: Partial<TestedMutant> = {}): TestedMutant[] {
  const location = { start: { line: 1, column: 7 }, end: { line: 1, column: 12 } };
  const mutant = { fileName: "a.ts", location, mutatorName: "EqualityOperator", replacement: "x <= 1", status };
  return Array.from({ length: count }, () => ({ ...mutant, ...changes }));
}

describe("the table", () => {
  it("counts what was noticed in each room, and in all of them", () => {
    const results = [
      { path: "relay/pack", mutants: [...mutants("Killed", 5), ...mutants("Timeout", 1), ...mutants("Survived", 2)] },
      { path: "agent", mutants: [...mutants("RuntimeError", 1), ...mutants("NoCoverage", 1)] },
      { path: "relay/none", mutants: [] },
    ];

    expect(formatTable(results).split("\n")).toEqual([
      "room        mutants  killed  survived  no coverage  timed out  score",
      "relay/pack        8       5         2            0          1   75 %",
      "agent             2       1         0            1          0   50 %",
      "relay/none        0       0         0            0          0      –",
      "all              10       6         2            1          1   70 %",
    ]);
  });
});

describe("the list of survivors", () => {
  it("shows place, original and replacement of what no test noticed, in the order of the code", () => {
    const text = "const y = 1;\nreturn x < 1\n  ? y : z;\n";
    const block = { start: { line: 0, column: 0 }, end: { line: 2, column: 3 } };
    const all = [
      ...mutants("Survived", 1),
      ...mutants("NoCoverage", 1, { location: block, replacement: "{}" }),
      ...mutants("Killed", 1),
      ...mutants("Timeout", 1),
    ];

    expect(formatSurvivors(all, () => text).split("\n")).toEqual([
      "a.ts:1:1 (no test runs it)",
      "  - const y = 1; return x < 1 ?",
      "  + {}",
      "a.ts:2:8",
      "  - x < 1",
      "  + x <= 1",
    ]);
  });
});
