import { LazyArchive } from "./archive/lazy-archive.ts";
import type { OpenArchive } from "./archive/port.ts";
import type { AwsPlaces, CaptureConfig, Config } from "./config/config.ts";
import { damagedFilesOf, type OnDamaged } from "./queue/damaged-file.ts";
import { EmbeddedQueue } from "./queue/embedded.ts";
import { openEmbeddedIngress, openIngress, openSqs } from "./queue/ingress.ts";
import { ingressQueue, targetQueue } from "./queue/names.ts";
import type { OpenQueue, QueueBacklog } from "./queue/port.ts";
import { type RemovedQueues, removedInDirectory, removedInSqs } from "./removed-queues.ts";
import { EmbeddedState } from "./state/embedded/state.ts";
import type { State } from "./state/port.ts";

/** The open queues, state and archives of a configuration. */
export interface Stores {
  /** The dead letters of this queue are the packs that could not be fanned out. */
  readonly ingress: OpenQueue;
  /** By target name. If a target reads the ingress queue itself, this is the ingress queue. */
  readonly targets: ReadonlyMap<string, OpenQueue>;
  /** The queue of a target. Throws if the configuration has no such target. */
  queueOf(target: string): OpenQueue;
  /** The queues of targets that are no longer in the configuration. */
  readonly removed: RemovedQueues;
  readonly state: State;
  /** By capture name. */
  readonly archives: ReadonlyMap<string, OpenArchive>;
  /**
   * The backlog of the embedded ingress queue if the configuration now names a queue in SQS: nothing processes these packs any
   * more. Otherwise undefined.
   */
  leftBehind(): Promise<QueueBacklog | undefined>;
  /**
   * The files of a target's queue, or without a target of the ingress queue, that were damaged and set aside. Absent if the queues
   * are not on this machine.
   */
  damagedFilesOf?(target?: string): readonly string[];
  close(): Promise<void>;
}

/**
 * Opens queues, state and archives; creates a missing directory.
 *
 * @param onDamaged see `QueueFileOptions`
 */
export async function openStores(config: Config, onDamaged?: OnDamaged): Promise<Stores> {
  return config.aws ? openAwsStores(config, config.aws) : openLocalStores(config, onDamaged);
}

async function openLocalStores(config: Config, onDamaged: OnDamaged | undefined): Promise<Stores> {
  const { queueDirectory: directory, queueShareBytes: maxBytes, ingress: place, targets, captures } = config;
  const local = openEmbeddedIngress({ directory, maxBytes }, onDamaged);
  // The host keeps everything on this machine, including the dead letters of an ingress queue in SQS.
  const remote = place.kind === "sqs" ? await openSqs(place.url, local.deadLetters) : undefined;
  const open = (name: string) => EmbeddedQueue.open({ directory, name, maxBytes, ...(onDamaged && { onDamaged }) });
  const queues = new Map(targets.map(({ name }) => [name, open(targetQueue(name))]));
  const removed = removedInDirectory(directory, targets, { onDamaged });
  const state = EmbeddedState.open(directory);
  const archives = openArchives(captures);
  return {
    ingress: remote ?? local,
    targets: queues,
    queueOf: (target) => queueIn(queues, target),
    removed,
    state,
    archives,
    damagedFilesOf: (target) => damagedFilesOf(directory, target === undefined ? ingressQueue : targetQueue(target)),
    leftBehind: async () => (remote ? local.backlog() : undefined),
    async close() {
      for (const queue of [local, ...queues.values()]) queue.close();
      removed.close();
      for (const archive of archives.values()) archive.close();
      remote?.close();
      state.close();
    },
  };
}

async function openAwsStores(config: Config, aws: AwsPlaces): Promise<Stores> {
  const { ingress: place, targets, captures } = config;
  // Imported lazily: a host on one machine should not load the SDK.
  const { DynamoDbState } = await import("./state/dynamodb/state.ts");
  const ingress = await openIngress(place);
  const queues = new Map<string, OpenQueue>();
  for (const { name } of targets) {
    const url = aws.targetQueues.get(name);
    queues.set(name, url === undefined ? ingress : await openSqs(url));
  }
  const state = DynamoDbState.open({ table: aws.table, region: aws.tableRegion });
  const { controls, jobs } = state;
  const removed = removedInSqs({ aws, targets, controls, jobs });
  const archives = openArchives(captures);
  return {
    ingress,
    targets: queues,
    queueOf: (target) => queueIn(queues, target),
    removed,
    state,
    archives,
    leftBehind: async () => undefined,
    async close() {
      for (const queue of new Set([ingress, ...queues.values()])) queue.close();
      removed.close();
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
