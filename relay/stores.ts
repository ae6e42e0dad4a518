import { LazyArchive } from "./archive/lazy-archive.ts";
import type { OpenArchive } from "./archive/port.ts";
import type { AwsPlaces, CaptureConfig, Config } from "./config/config.ts";
import { EmbeddedQueue } from "./queue/embedded.ts";
import { openEmbeddedIngress, openIngress, openSqs } from "./queue/ingress.ts";
import { targetQueue } from "./queue/names.ts";
import type { OpenQueue, QueueBacklog } from "./queue/port.ts";
import { EmbeddedState } from "./state/embedded/state.ts";
import type { State } from "./state/port.ts";

/** The queues and the state that a configuration names, opened. */
export interface Stores {
  /** Its dead letters are the packs that cannot be decoded. */
  readonly ingress: OpenQueue;
  /** By the name of the target. Of a target that reads the ingress queue itself it is that queue. */
  readonly targets: ReadonlyMap<string, OpenQueue>;
  /** The queue of a target. Throws if the configuration has no such target. */
  queueOf(target: string): OpenQueue;
  readonly state: State;
  /** By the name of the capture. */
  readonly archives: ReadonlyMap<string, OpenArchive>;
  /** What an embedded ingress queue holds that nobody takes any more, since the queue is in SQS now. */
  leftBehind(): Promise<QueueBacklog | undefined>;
  close(): Promise<void>;
}

/** Opens queues and state; makes the directory where it is missing. */
export async function openStores(config: Config): Promise<Stores> {
  return config.aws ? openAwsStores(config, config.aws) : openLocalStores(config);
}

async function openLocalStores(config: Config): Promise<Stores> {
  const { queueDirectory: directory, ingress: place, targets, captures } = config;
  const local = openEmbeddedIngress(directory);
  // All of the host is on this machine, the dead letters of the ingress queue, too.
  const remote = place.kind === "sqs" ? await openSqs(place.url, local.deadLetters) : undefined;
  const queues = new Map(targets.map(({ name }) => [name, EmbeddedQueue.open({ directory, name: targetQueue(name) })]));
  const state = EmbeddedState.open(directory);
  const archives = openArchives(captures);
  return {
    ingress: remote ?? local,
    targets: queues,
    queueOf: (target) => queueIn(queues, target),
    state,
    archives,
    leftBehind: async () => (remote ? local.backlog() : undefined),
    async close() {
      for (const queue of [local, ...queues.values()]) queue.close();
      for (const archive of archives.values()) archive.close();
      remote?.close();
      state.close();
    },
  };
}

async function openAwsStores(config: Config, aws: AwsPlaces): Promise<Stores> {
  const { ingress: place, targets, captures } = config;
  // Only here, so that one machine pays nothing for the SDK.
  const { DynamoDbState } = await import("./state/dynamodb/state.ts");
  const ingress = await openIngress(place);
  const queues = new Map<string, OpenQueue>();
  for (const { name } of targets) {
    const url = aws.targetQueues.get(name);
    queues.set(name, url === undefined ? ingress : await openSqs(url));
  }
  const state = DynamoDbState.open({ table: aws.table, region: aws.tableRegion });
  const archives = openArchives(captures);
  return {
    ingress,
    targets: queues,
    queueOf: (target) => queueIn(queues, target),
    state,
    archives,
    leftBehind: async () => undefined,
    async close() {
      for (const queue of new Set([ingress, ...queues.values()])) queue.close();
      for (const archive of archives.values()) archive.close();
      await state.close();
    },
  };
}

/** The queue of a target. Throws if there is none. */
export function queueIn(queues: ReadonlyMap<string, OpenQueue>, target: string): OpenQueue {
  const queue = queues.get(target);
  if (!queue) throw new Error(`there is no target ${target}; the configuration has: ${[...queues.keys()].join(", ")}`);
  return queue;
}

function openArchives(captures: readonly CaptureConfig[]): ReadonlyMap<string, OpenArchive> {
  return new Map(captures.map(({ name, store }) => [name, new LazyArchive(store)]));
}
