import cluster from "node:cluster";
import { type Config, loadConfig } from "../config/config.ts";
import { createLogger, type Logger } from "../log/log.ts";

/**
 * Flags that an agent's process should run with. What it makes lives for milliseconds; a young generation of the usual size
 * would only take memory: 80 MB of it.
 */
export const agentNodeFlags: readonly string[] = ["--max-semi-space-size=4"];

/** A part of the program that runs until it is told to stop. */
export interface Service {
  /** Resolves with the number of requests that were given up. */
  stop(): Promise<number>;
  /** Requests that would be given up by ending at once. */
  readonly pending: number;
}

/**
 * Reads the configuration, starts a service, and runs it until SIGTERM, SIGINT or the end of the process that supervises
 * it. Resolves with the exit code: 0, or 1 where requests were given up. Throws `ConfigError`, or what `start` rejects with.
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
  if (givenUp > 0)
    log.error(
      { event: "given-up", requests: givenUp },
      "requests were lost at shutdown: they were neither sent nor stored in time",
    );
  await new Promise<void>((resolve) => log.flush(() => resolve()));
  return givenUp > 0 ? 1 : 0;
}

/** What the first process of a cluster sends to a worker that has to stop. */
export const stopRequest = { kind: "spoa-relay:stop" } as const;

/** Resolves when the process is asked to stop for the first time. */
export async function firstSignal(): Promise<void> {
  if (cluster.isWorker) return stopRequested();
  await new Promise<unknown>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
    // The supervisor's end closes its channel; nobody would stop us later.
    process.once("disconnect", resolve);
  });
}

// Terminals and service managers signal the whole group, and a second signal means haste: only the first process listens.
async function stopRequested(): Promise<void> {
  process.on("SIGTERM", () => {});
  process.on("SIGINT", () => {});
  await new Promise<void>((resolve) => {
    process.on("message", (message: { readonly kind?: string }) => {
      if (message.kind === stopRequest.kind) resolve();
    });
    process.once("disconnect", resolve);
  });
  // The first process has ended without waiting for us.
  process.once("disconnect", () => process.exit(1));
}

function endAtOnce(service: Service, log: Logger): void {
  log.error(
    { event: "killed", givenUp: service.pending },
    "exiting at once after a second signal: pending requests are given up",
  );
  log.flush(() => process.exit(1));
}
