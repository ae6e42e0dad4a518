import { styleText } from "node:util";
import { type Command, InvalidArgumentError } from "commander";
import { bounds } from "../config/bounds.ts";
import { parseCount } from "../config/units.ts";

// Flags and output that the commands share.

export interface ConfigFlag {
  readonly config: string;
}

export function withConfig(command: Command, description: string): Command {
  return command.description(description).option("-c, --config <file>", "configuration file", "spoa-relay.yaml");
}

/** A port of 65,500 at most, since the commands also use the ports after it. */
export function parsePort(text: string): number {
  const port = parseCount(text, bounds.firstPort);
  if (port !== undefined) return port;
  throw new InvalidArgumentError(`It must be a port from ${bounds.firstPort.least} to ${bounds.firstPort.most}.`);
}

/** The failure of a command; only its message is printed. */
export class Failure extends Error {}

/** A failure because an argument is wrong, such as the name of a file that does not exist: the exit code is 2. */
export class WrongArgument extends Failure {}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A table with one line per row; the first row has the names of the columns, dimmed if `stream` is a terminal. */
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
