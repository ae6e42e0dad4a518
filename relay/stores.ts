import { mkdirSync } from "node:fs";
import type { Config } from "./config.ts";
import { EmbeddedQueue } from "./queue/embedded.ts";
import { ingressQueue, targetQueue } from "./queue/names.ts";
import { EmbeddedState } from "./state/embedded.ts";

/** The queues and the state that a configuration names, opened. */
export interface Stores {
  readonly ingress: EmbeddedQueue;
  /** By the name of the target. */
  readonly targets: ReadonlyMap<string, EmbeddedQueue>;
  readonly state: EmbeddedState;
  close(): void;
}

/** Opens the embedded queues and the state; makes the directory where it is missing. */
export function openStores(config: Config): Stores {
  const directory = config.queueDirectory;
  mkdirSync(directory, { recursive: true });
  const ingress = EmbeddedQueue.open({ directory, name: ingressQueue });
  const targets = new Map(
    config.targets.map(({ name }) => [name, EmbeddedQueue.open({ directory, name: targetQueue(name) })]),
  );
  const state = EmbeddedState.open(directory);
  return {
    ingress,
    targets,
    state,
    close() {
      for (const queue of [ingress, ...targets.values()]) queue.close();
      state.close();
    },
  };
}
