import type { Command } from "commander";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { assertReplayable } from "../config/replayable.ts";
import { createLogger, type Logger } from "../log/log.ts";
import { agentNodeFlags, runService, type Service, stopSignal } from "../process/service.ts";
import { supervise } from "../process/supervisor.ts";
import { type ConfigFlag, withConfig } from "./command-line.ts";

/** The services that the commands start. */
export interface Services {
  readonly runAgent: (configFile: string, dump: boolean) => Promise<number>;
  readonly startHost: (config: Config, log: Logger) => Promise<Service>;
}

export function addServices(program: Command, { runAgent, startHost }: Services): void {
  withConfig(program.command("agent"), "receive requests from HAProxy and enqueue them")
    .addHelpText("after", "\nExample: spoa-relay agent --config /etc/spoa-relay.yaml")
    .option("--dump", "print the requests instead of enqueueing them; the log is written to standard error")
    .action(async ({ config, dump }: ConfigFlag & { dump?: boolean }) => {
      process.exitCode = await runAgent(config, dump === true);
    });
  withConfig(program.command("host"), "receive requests from the queue and replay them to the targets")
    .addHelpText("after", "\nExample: spoa-relay host --config /etc/spoa-relay.yaml")
    .action(async ({ config }: ConfigFlag) => {
      process.exitCode = await runService(config, startHost);
    });
  withConfig(program.command("up"), "run agent and host on this machine, in separate processes")
    .addHelpText("after", "\nExample: spoa-relay up --config spoa-relay.yaml")
    .action(async ({ config }: ConfigFlag) => {
      process.exitCode = await runUp(config);
    });
}

/** Runs agent and host until a signal arrives or `end` is aborted; resolves with the exit code. Throws `ConfigError`. */
export async function runUp(configFile: string, end?: AbortSignal): Promise<number> {
  const config = loadConfig(configFile, process.env);
  assertReplayable(config);
  const log = createLogger(config.log);
  const stopped = stopSignal();
  const code = await supervise(
    [
      { name: "agent", args: ["agent", "--config", configFile], nodeFlags: agentNodeFlags },
      { name: "host", args: ["host", "--config", configFile] },
    ],
    log,
    end ? AbortSignal.any([stopped, end]) : stopped,
  );
  await new Promise<void>((done) => log.flush(() => done()));
  return code;
}
