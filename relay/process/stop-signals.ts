import cluster from "node:cluster";

/** The requests to end that a process receives. */
export interface StopSignals {
  /** Aborted at the first request. */
  readonly stop: AbortSignal;
  /** Aborted at a second one: end at once. */
  readonly force: AbortSignal;
}

/** The message that the primary process of a cluster sends to stop a worker. */
export const stopRequest = { kind: "spoa-relay:stop" } as const;

// timeout(1) signals its child and then the child's process group, which has the child in it.
const sameSignalMs = 2;

/**
 * Takes over SIGTERM and SIGINT, or `names`, until the process ends. The end of the supervising process is a first request.
 *
 * @param sameMs signals that arrive within this time of the first are taken for the same one
 */
export function watchStopSignals({
  names = ["SIGTERM", "SIGINT"],
  sameMs = sameSignalMs,
}: {
  readonly names?: readonly NodeJS.Signals[];
  readonly sameMs?: number;
} = {}): StopSignals {
  const stop = new AbortController();
  const force = new AbortController();
  if (cluster.isWorker) {
    watchPrimary(names, stop, force);
  } else {
    let armed = false;
    const begin = () => {
      stop.abort();
      setTimeout(() => {
        armed = true;
      }, sameMs).unref();
    };
    // Never removed: without a handler, the next signal would end the process on the spot.
    const take = () => {
      if (!stop.signal.aborted) begin();
      else if (armed) force.abort();
    };
    for (const name of names) process.on(name, take);
    // The channel closes when the supervisor dies. Nothing else would stop this process then.
    process.once("disconnect", begin);
  }
  return { stop: stop.signal, force: force.signal };
}

/** Resolves when the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

// Terminals and service managers signal the whole process group, and a second signal means to exit at once. So only the
// primary process handles signals.
function watchPrimary(names: readonly NodeJS.Signals[], stop: AbortController, force: AbortController): void {
  for (const name of names) process.on(name, () => {});
  process.on("message", (message: { readonly kind?: string }) => {
    if (message.kind === stopRequest.kind) stop.abort();
  });
  process.once("disconnect", () => {
    // The primary process has exited without waiting for this worker.
    if (stop.signal.aborted) force.abort();
    stop.abort();
  });
}
