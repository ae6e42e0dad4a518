import type { MutantStatus, TestedMutant } from "./mutation-run.ts";

export interface RoomResult {
  readonly path: string;
  readonly mutants: readonly TestedMutant[];
}

/** A table: how many mutants of each room were noticed, and all rooms together. */
export function formatTable(results: readonly RoomResult[]): string {
  const rows = results.map(({ path, mutants }) => toRow(path, mutants));
  if (results.length > 1)
    rows.push(
      toRow(
        "all",
        results.flatMap(({ mutants }) => mutants),
      ),
    );
  const header = ["room", "mutants", "killed", "survived", "no coverage", "timed out", "score"];
  const widths = header.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i].length)));
  const format = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  return [header, ...rows].map(format).join("\n");
}

function toRow(name: string, mutants: readonly TestedMutant[]): readonly string[] {
  const count = (...statuses: readonly MutantStatus[]) =>
    mutants.filter(({ status }) => statuses.includes(status)).length;
  // A mutant that throws while its module is loaded is noticed, too.
  const killed = count("Killed", "RuntimeError");
  const timedOut = count("Timeout");
  const score = mutants.length === 0 ? "–" : `${Math.round((100 * (killed + timedOut)) / mutants.length)} %`;
  return [name, mutants.length, killed, count("Survived"), count("NoCoverage"), timedOut, score].map(String);
}

/**
 * The mutants that no test noticed, in the order of the code: file, line and column, the original and what replaced it.
 * `read` returns the text of a file.
 */
export function formatSurvivors(mutants: readonly TestedMutant[], read: (fileName: string) => string): string {
  return mutants
    .filter(isLeft)
    .sort((a, b) => a.fileName.localeCompare(b.fileName) || a.location.start.line - b.location.start.line)
    .map((mutant) => {
      const { fileName, location, replacement, status } = mutant;
      const place = `${fileName}:${location.start.line + 1}:${location.start.column + 1}`;
      const note = status === "NoCoverage" ? " (no test runs it)" : "";
      return `${place}${note}\n  - ${shorten(originalOf(mutant, read(fileName)))}\n  + ${shorten(replacement)}`;
    })
    .join("\n");
}

/** Whether no test noticed the mutant. */
export function isLeft({ status }: TestedMutant): boolean {
  return status === "Survived" || status === "NoCoverage";
}

function originalOf({ location: { start, end } }: TestedMutant, text: string): string {
  const lines = text.split("\n").slice(start.line, end.line + 1);
  // The end first: it may be in the same line as the start.
  lines[lines.length - 1] = lines[lines.length - 1].slice(0, end.column);
  lines[0] = lines[0].slice(start.column);
  return lines.join("\n");
}

const maxShown = 160;

function shorten(code: string): string {
  const line = code.replace(/\s+/g, " ").trim();
  return line.length <= maxShown ? line : `${line.slice(0, maxShown - 1)}…`;
}
