import type { Config } from "./config.ts";
import { EmbeddedQueue } from "./queue/embedded.ts";
import { type Ingress, openEmbeddedIngress, openIngress, toIngress } from "./queue/ingress.ts";
import { targetQueue } from "./queue/names.ts";
import { EmbeddedState } from "./state/embedded.ts";

/** The queues and the state that a configuration names, opened. */
export interface Stores {
  readonly ingress: Ingress;
  /**
   * The ingress queue's file on this machine. Its dead letters are the packs that cannot be decoded, wherever they came
   * from. Where the ingress queue is in SQS, its messages are what an embedded one has left behind.
   */
  readonly localIngress: EmbeddedQueue;
  /** By the name of the target. */
  readonly targets: ReadonlyMap<string, EmbeddedQueue>;
  readonly state: EmbeddedState;
  close(): void;
}

/** Opens queues and state; makes the directory where it is missing. */
export async function openStores(config: Config): Promise<Stores> {
  const directory = config.queueDirectory;
  const localIngress = openEmbeddedIngress(directory);
  const ingress = config.ingress.kind === "sqs" ? await openIngress(config.ingress) : toIngress(localIngress);
  const targets = new Map(
    config.targets.map(({ name }) => [name, EmbeddedQueue.open({ directory, name: targetQueue(name) })]),
  );
  const state = EmbeddedState.open(directory);
  return {
    ingress,
    localIngress,
    targets,
    state,
    close() {
      ingress.close();
      for (const queue of [localIngress, ...targets.values()]) queue.close();
      state.close();
    },
  };
}
