import type { Logger } from "./log.ts";

export interface Service {
  /** Resolves with the number of requests that were given up. */
  stop(): Promise<number>;
  /** Requests that would be given up by ending at once. */
  readonly pending: number;
}

/**
 * Runs a service until SIGTERM, SIGINT or the end of the parent process that supervises it, then stops it in order. Resolves
 * with the exit code: 0, or 1 where something was given up. A second signal ends the process at once with 1.
 */
export async function runUntilSignal(service: Service, log: Logger): Promise<number> {
  await new Promise<void>((resolve) => {
    let signals = 0;
    const onSignal = (): void => {
      signals++;
      if (signals === 1) return resolve();
      log.error({ event: "killed", givenUp: service.pending }, "second signal: stopping at once");
      log.flush(() => process.exit(1));
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
    process.once("disconnect", onSignal);
  });
  const givenUp = await service.stop();
  if (givenUp > 0) log.error({ event: "given-up", requests: givenUp }, "requests were given up");
  return givenUp > 0 ? 1 : 0;
}
