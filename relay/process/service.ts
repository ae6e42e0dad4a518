import cluster from "node:cluster";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { createLogger, type Logger } from "../log/log.ts";

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

/**
 * Reads the configuration, starts a service, and runs it until SIGTERM, SIGINT or the end of its supervising process.
 * Resolves with the exit code: 0, or 1 if requests were lost. Throws `ConfigError` and the errors of `start`.
 */
export async function runService(
  configFile: string,
  start: (config: Config, log: Logger) => Promise<Service>,
  logTo: 1 | 2 = 1,
): Promise<number> {
  const config = loadConfig(configFile, process.env);
  const log = createLogger(config.log, logTo);
  for (const warning of config.warnings) log.warn({ event: "config" }, warning);
  const stopped = firstSignal();
  const service = await start(config, log);
  await stopped;
  if (cluster.isPrimary) {
    process.once("SIGTERM", () => endAtOnce(service, log));
    process.once("SIGINT", () => endAtOnce(service, log));
  }
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

/** The message that the primary process of a cluster sends to stop a worker. */
export const stopRequest = { kind: "spoa-relay:stop" } as const;

/** Resolves when the process is asked to stop for the first time. */
export async function firstSignal(): Promise<void> {
  if (cluster.isWorker) return stopRequested();
  await new Promise<unknown>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
    // The channel closes when the supervisor dies. Nothing else would stop this process then.
    process.once("disconnect", resolve);
  });
}

/** Aborted when the process receives its first signal to stop. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  // Cannot reject: `firstSignal` only waits for events of the process.
  void firstSignal().then(() => stop.abort());
  return stop.signal;
}

// Terminals and service managers signal the whole process group, and a second signal means to exit at once. So only the
// primary process handles signals.
async function stopRequested(): Promise<void> {
  process.on("SIGTERM", () => {});
  process.on("SIGINT", () => {});
  await new Promise<void>((resolve) => {
    process.on("message", (message: { readonly kind?: string }) => {
      if (message.kind === stopRequest.kind) resolve();
    });
    process.once("disconnect", resolve);
  });
  // The primary process has exited without waiting for this worker.
  process.once("disconnect", () => process.exit(1));
}

function endAtOnce(service: Service, log: Logger): void {
  log.error(
    { event: "killed", givenUp: service.pending },
    "exiting at once after a second signal: pending requests are given up",
  );
  log.flush(() => process.exit(1));
}
