import { styleText } from "node:util";

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A row a line, columns side by side; the first row is their names, dimmed where `stream` is a terminal. */
export function formatTable(rows: readonly (readonly string[])[], stream: NodeJS.WriteStream): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join("  ")
      .trimEnd(),
  );
  const [names, ...others] = lines;
  return [styleText("dim", names, { stream }), ...others].join("\n");
}
