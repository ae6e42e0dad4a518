import { execFile } from "node:child_process";
import { resolve } from "node:path";

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const mainFile = resolve(import.meta.dirname, "../../../relay/main.ts");

/** Runs the command line in a process of its own. */
export function spoaRelay(...args: string[]): Promise<CommandResult> {
  return run(process.execPath, mainFile, ...args);
}

/** Runs any program. An exit code other than 0 is a result, not an error. */
export function run(program: string, ...args: string[]): Promise<CommandResult> {
  return new Promise((done) => {
    execFile(program, args, (error, stdout, stderr) => {
      done({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr });
    });
  });
}
