import type { Command } from "commander";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { assertRedactable, assertReplayable } from "../config/replayable.ts";
import { createLogger, type Logger } from "../log/log.ts";
import { DirectoryLock } from "../process/directory-lock.ts";
import { agentNodeFlags, runService, type Service } from "../process/service.ts";
import { watchStopSignals } from "../process/stop-signals.ts";
import { supervise } from "../process/supervisor.ts";
import { type ConfigFlag, withConfig } from "./command-line.ts";

/** The services that the commands start. */
export interface Services {
  readonly runAgent: (configFile: string, dump: boolean) => Promise<number>;
  readonly startHost: (config: Config, log: Logger) => Promise<Service>;
}

// A host hands back what has no answer after 8 s.
const hostOverdueMs = 20_000;

export function addServices(program: Command, { runAgent, startHost }: Services): void {
  withConfig(program.command("agent"), "receive requests from HAProxy and enqueue them")
    .addHelpText("after", "\nExample: spoa-relay agent --config /etc/spoa-relay.yaml")
    .option(
      "--dump",
      "print the requests, without what looks like a secret, instead of enqueueing them; the log is written to standard error",
    )
    .action(async ({ config, dump }: ConfigFlag & { dump?: boolean }) => {
      process.exitCode = await runAgent(config, dump === true);
    });
  withConfig(program.command("host"), "receive requests from the queue and replay them to the targets")
    .addHelpText("after", "\nExample: spoa-relay host --config /etc/spoa-relay.yaml")
    .action(async ({ config }: ConfigFlag) => {
      process.exitCode = await runService(config, { start: startHost, stopWithinMs: hostOverdueMs });
    });
  withConfig(program.command("up"), "run agent and host on this machine, in separate processes")
    .addHelpText("after", "\nExample: spoa-relay up --config spoa-relay.yaml")
    .action(async ({ config }: ConfigFlag) => {
      process.exitCode = await runUp(config, { command: "up" });
    });
}

export interface UpOptions {
  /** The command, for the message that another process gets. */
  readonly command: "up" | "mirror";
  /** Ends agent and host when it is aborted, like a signal. */
  readonly end?: AbortSignal;
  /** Runs before agent and host start, while this process has the data directory for itself; may throw. */
  readonly prepare?: (config: Config, log: Logger) => Promise<void>;
}

/**
 * Runs agent and host until a signal arrives; resolves with the exit code. Throws `ConfigError`, and `DirectoryInUseError` if
 * another `up` or `mirror` uses the data directory.
 */
export async function runUp(configFile: string, { command, end, prepare }: UpOptions): Promise<number> {
  const config = loadConfig(configFile, process.env);
  assertReplayable(config);
  assertRedactable(config);
  const log = createLogger(config.log);
  const { stop, force } = watchStopSignals();
  const lock = lockData(config, command);
  try {
    await prepare?.(config, log);
    return await supervise(
      [
        { name: "agent", args: ["agent", "--config", configFile], nodeFlags: agentNodeFlags },
        { name: "host", args: ["host", "--config", configFile] },
      ],
      log,
      { stop: end ? AbortSignal.any([stop, end]) : stop, force },
    );
  } finally {
    lock?.release();
    await new Promise<void>((done) => log.flush(() => done()));
  }
}

/**
 * Two configurations with one data directory would split its requests at random: each host fans out what it happens to receive,
 * to its own targets. Agents and hosts that are meant to share a queue are started one by one, and take no lock.
 */
function lockData({ aws, queueDirectory }: Config, command: string): DirectoryLock | undefined {
  if (aws) return undefined;
  return DirectoryLock.take(
    queueDirectory,
    `spoa-relay ${command}`,
    "a second one would take a part of its requests. Stop that process, or use another directory: --data for mirror, queue or " +
      "host.data in the file. To share the queue with more agents or hosts, start them with spoa-relay agent and spoa-relay host",
  );
}
