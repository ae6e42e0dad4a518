import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { createLogger, type Logger } from "../log/log.ts";
import { watchClock } from "./clock-watch.ts";
import { aborted, watchStopSignals } from "./stop-signals.ts";

/**
 * Node flags for an agent's process. Its objects live for milliseconds, so a young generation of the default size would
 * only use 80 MB more memory.
 */
export const agentNodeFlags: readonly string[] = ["--max-semi-space-size=4"];

/** An agent or a host: runs until it is stopped. */
export interface Service {
  /** Stops the service. Resolves with the number of requests that were lost. */
  stop(): Promise<number>;
  /** Number of requests that would be lost if the process exited now. */
  readonly pending: number;
}

export interface ServiceOptions {
  readonly start: (config: Config, log: Logger) => Promise<Service>;
  /** The process ends this long after it was told to stop, even if a thread of it hangs. */
  readonly stopWithinMs: number;
  /** The signals that stop it, see `watchStopSignals`. */
  readonly signals?: readonly NodeJS.Signals[];
  /** Standard output (1, the default) or standard error (2). */
  readonly logTo?: 1 | 2;
}

/**
 * Reads the configuration, starts a service, and runs it until a signal, or the end of the process that started it.
 * Resolves with the exit code: 0, or 1 if requests were lost. Throws `ConfigError` and the errors of `start`.
 */
export async function runService(
  configFile: string,
  { start, stopWithinMs, signals, logTo = 1 }: ServiceOptions,
): Promise<number> {
  const config = loadConfig(configFile, process.env);
  const log = createLogger(config.log, logTo);
  watchClock(log);
  for (const warning of config.warnings) log.warn({ event: "config" }, warning);
  const { stop, force } = watchStopSignals(signals);
  let service: Service | undefined;
  force.addEventListener("abort", () => {
    const text = "exiting at once after a second signal: pending requests are given up";
    log.error({ event: "killed", givenUp: service?.pending ?? 0 }, text);
    endNow(log);
  });
  // Also if it hangs before it has started.
  stop.addEventListener("abort", () => {
    setTimeout(() => {
      const text =
        "the process did not stop in time, so it exits now: a part of it hangs; requests in memory are given up";
      log.error({ event: "stop-overdue", afterMs: stopWithinMs, givenUp: service?.pending ?? 0 }, text);
      endNow(log);
    }, stopWithinMs).unref();
  });
  service = await start(config, log);
  await aborted(stop);
  const givenUp = await service.stop();
  if (givenUp > 0) {
    log.error(
      { event: "given-up", requests: givenUp },
      "requests were lost at shutdown: they were neither sent nor stored in time",
    );
  }
  await new Promise<void>((resolve) => log.flush(() => resolve()));
  return givenUp > 0 ? 1 : 0;
}

/**
 * Ends the process with exit code 1. `process.exit` waits for the threads of the process, and would wait for ever for one that
 * hangs in a system call. Replacing the program ends them. SIGKILL would do so too, but the first process of a container cannot
 * send it to itself.
 */
function endNow(log: Logger): void {
  log.flush(() => {
    const { execPath } = process;
    try {
      process.execve?.(execPath, [execPath, "-e", "process.exit(1)"], {});
    } finally {
      // Not on Windows, and not if the program of Node was replaced meanwhile.
      process.kill(process.pid, "SIGKILL");
    }
  });
}
