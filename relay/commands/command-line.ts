import { styleText } from "node:util";
import { type Command, InvalidArgumentError } from "commander";

// What all commands take and print.

export interface ConfigFlag {
  readonly config: string;
}

export function withConfig(command: Command, description: string): Command {
  return command.description(description).option("-c, --config <file>", "configuration file", "spoa-relay.yaml");
}

/** A port that leaves some above it, since commands take the ports after it, too. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port <= 65_500) return port;
  throw new InvalidArgumentError("It must be a port from 1 to 65500.");
}

/** Something that a command could not do; its message is all that is printed. */
export class Failure extends Error {}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A row a line, columns side by side; the first row is their names, dimmed if `stream` is a terminal. */
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

/** A count and its noun: `1 request`, `1,200 requests`. */
export function plural(count: number, noun: string): string {
  const whole = Math.round(count);
  return `${whole.toLocaleString("en-US")} ${noun}${whole === 1 ? "" : "s"}`;
}
