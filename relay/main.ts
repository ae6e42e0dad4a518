import "./process/node-version.ts";
import { resolve } from "node:path";
import { isMainThread } from "node:worker_threads";
import { Command, CommanderError } from "commander";
import packageJson from "../package.json" with { type: "json" };
import { addCaptures } from "./commands/captures.ts";
import { WrongArgument } from "./commands/command-line.ts";
import { addConfig } from "./commands/config.ts";
import { addDeadLetters } from "./commands/dead-letters.ts";
import { addDemo } from "./commands/demo.ts";
import { addExport } from "./commands/export.ts";
import { addImport } from "./commands/import.ts";
import { addJobs } from "./commands/jobs.ts";
import { addMirror } from "./commands/mirror.ts";
import { addReplay } from "./commands/replay.ts";
import { addServices } from "./commands/services.ts";
import { addStats } from "./commands/stats.ts";
import { addTargets } from "./commands/targets.ts";
import { ConfigError } from "./config/text.ts";
import { ControlError } from "./control/client.ts";
import { JobError } from "./job/job-error.ts";
import { hideUrlPasswords, showUrl } from "./redaction/url-passwords.ts";

// The command line: the only file of relay/ that imports agent/ and functions/.

/** The same path relative to this file and to the bundle. */
const haproxyDirectory = resolve(import.meta.dirname, "../agent/haproxy");

const exitCodes = `
Exit codes: 0 done, 1 failed, 2 wrong argument or configuration`;

function createProgram(): Command {
  const program = new Command("spoa-relay")
    .description("Mirrors live HTTP traffic from HAProxy to shadow environments.")
    .addHelpText("after", `\nExample: spoa-relay up --config spoa-relay.yaml${exitCodes}`)
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(hideArgument(text)) })
    .showHelpAfterError("(--help lists commands and flags)");
  addServices(program, {
    runAgent: async (...args) => (await import("../agent/agent.ts")).runAgent(...args),
    startHost: async (...args) => (await import("../functions/host/host.ts")).startHost(...args),
  });
  addMirror(program);
  addConfig(program);
  addStats(program);
  addTargets(program);
  addDeadLetters(program);
  addCaptures(program);
  addReplay(program);
  addJobs(program);
  addImport(program);
  addExport(program);
  addDemo(program, haproxyDirectory);
  return program;
}

/** The text of a mistake in the arguments, which quotes them: a URL may hold a password. */
function hideArgument(text: string): string {
  return hideUrlPasswords(text.replace(/(?<=argument ').*(?=' is invalid)/s, showUrl));
}

function toExitCode(error: unknown): number {
  // commander has printed the mistake, for which it has code 1 and we have 2. Its code for help and version is 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  process.stderr.write(`${hideUrlPasswords((error as Error).message)}\n`);
  return error instanceof ConfigError || isWrongArgument(error) ? 2 : 1;
}

function isWrongArgument(error: unknown): boolean {
  if (error instanceof ControlError) return error.code === "BAD_REQUEST";
  return error instanceof WrongArgument || (error instanceof JobError && /^(?:BAD|UNKNOWN)_/.test(error.code));
}

if (isMainThread) {
  // `| head` closes the pipe when it has read enough.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  try {
    await createProgram().parseAsync();
  } catch (error) {
    process.exitCode = toExitCode(error);
  }
  // process.exit() would discard output that the reader of a pipe has not read yet.
  if (process.stdout.writableLength > 0) await new Promise<void>((done) => process.stdout.write("", () => done()));
  process.exit();
} else {
  // In the bundle this is also the file of the threads: each of these modules knows its own by the role.
  await import("../agent/shipper/shipper.ts");
  await import("../functions/capture/upkeep-thread.ts");
}
