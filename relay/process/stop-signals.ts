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

/** The message by which a process ends a process of this program at once that it has started. */
export const forceRequest = { kind: "spoa-relay:force" } as const;

// timeout(1) signals its child and then the child's process group, npm forwards a Ctrl+C that its child has already, and a
// closing terminal and its shell both hang up. An impatient person takes longer.
const sameSignalMs = 500;

/**
 * Takes over the signals `names` until the process ends. Signals that arrive within half a second of the first count as the
 * same one. A process that another one has started stops at a signal, too, and at the end of its starter, but only its starter
 * can force it: a service manager signals all processes of a service, which must not make two signals of one.
 */
export function watchStopSignals(names: readonly NodeJS.Signals[] = ["SIGTERM", "SIGINT", "SIGHUP"]): StopSignals {
  const stop = new AbortController();
  const force = new AbortController();
  // Workers of a cluster wait for their primary process, which stops all of them.
  let take = () => {
    if (!cluster.isWorker) stop.abort();
  };
  if (process.connected === undefined) take = takeTwo(stop, force);
  else watchStarter(stop, force);
  // Never removed: without a handler, the next signal would end the process on the spot.
  for (const name of names) process.on(name, take);
  return { stop: stop.signal, force: force.signal };
}

/** Resolves when the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

function takeTwo(stop: AbortController, force: AbortController): () => void {
  let armed = false;
  return () => {
    if (armed) force.abort();
    if (stop.signal.aborted) return;
    stop.abort();
    setTimeout(() => {
      armed = true;
    }, sameSignalMs).unref();
  };
}

function watchStarter(stop: AbortController, force: AbortController): void {
  process.on("message", (message: { readonly kind?: string } | null) => {
    if (message?.kind === stopRequest.kind) stop.abort();
    if (message?.kind === forceRequest.kind) force.abort();
  });
  const ended = () => {
    // The primary process has exited without waiting for this worker.
    if (cluster.isWorker && stop.signal.aborted) force.abort();
    stop.abort();
  };
  // The channel closes when the starter dies. Nothing else would stop this process then.
  if (process.connected) process.once("disconnect", ended);
  else ended();
}
