import { readdirSync } from "node:fs";
import type { AwsPlaces, TargetConfig } from "./config/config.ts";
import { jobIdOf } from "./job/job.ts";
import type { OnDamaged } from "./queue/damaged-file.ts";
import { EmbeddedQueue } from "./queue/embedded.ts";
import { openSqs } from "./queue/ingress.ts";
import { targetOfQueue, targetQueue } from "./queue/names.ts";
import { type OpenQueue, QueueError } from "./queue/port.ts";
import { type Controls, captureKeyPrefix, type Jobs, type LedgerTotals, StateError } from "./state/port.ts";

/** The queues of targets that are no longer in the configuration. Each is opened when it is first found, and stays open. */
export interface RemovedQueues {
  /**
   * Finds the queues, by the name of their target, on disk or from the targets in the ledger. A queue that cannot be opened is
   * an error. Throws `StateError`.
   */
  find(ledger: LedgerTotals): Promise<ReadonlyMap<string, OpenQueue | QueueError>>;
  close(): void;
}

type Targets = readonly Pick<TargetConfig, "name">[];

export interface RemovedInDirectoryOptions {
  /** See `QueueFileOptions`. */
  readonly now?: (() => number) | undefined;
  /** See `QueueFileOptions`. */
  readonly onDamaged?: OnDamaged | undefined;
}

/** Finds the queues in a directory: their files tell the targets. */
export function removedInDirectory(
  directory: string,
  targets: Targets,
  { now, onDamaged }: RemovedInDirectoryOptions = {},
): RemovedQueues {
  const configured = namesOf(targets);
  const open = new Map<string, EmbeddedQueue>();
  const tryOpen = (name: string): EmbeddedQueue | QueueError => {
    try {
      const queue =
        open.get(name) ??
        EmbeddedQueue.open({
          directory,
          name: targetQueue(name),
          ...(now && { now }),
          ...(onDamaged && { onDamaged }),
        });
      open.set(name, queue);
      return queue;
    } catch (error) {
      if (error instanceof QueueError) return error;
      throw error;
    }
  };
  return {
    async find() {
      const names = readdirSync(directory).flatMap((file) => targetOfQueue(file) ?? []);
      return new Map(names.filter((name) => !configured.has(name)).map((name) => [name, tryOpen(name)]));
    },
    close() {
      for (const queue of open.values()) queue.close();
    },
  };
}

export interface RemovedInSqsOptions {
  readonly aws: Pick<AwsPlaces, "ingressQueue" | "targetQueues">;
  readonly targets: Targets;
  readonly controls: Controls;
  readonly jobs: Pick<Jobs, "list">;
}

/**
 * Finds the queues in SQS. `rememberQueues` has noted their URLs; the queue of a target that an earlier version knew has the name
 * and region of a target without `queue` and `region`.
 */
export function removedInSqs({ aws, targets, controls, jobs }: RemovedInSqsOptions): RemovedQueues {
  const configured = namesOf(targets);
  const inUse = new Set([aws.ingressQueue, ...aws.targetQueues.values()]);
  const open = new Map<string, Promise<OpenQueue>>();
  return {
    async find(ledger) {
      // The ledger counts the packs of jobs under the job: their targets may have no entry of their own.
      const ofJobs = (await jobs.list()).map(({ job }) => job.target);
      const names = [...new Set([...targetsIn(ledger), ...ofJobs])].filter((name) => !configured.has(name));
      const found = await Promise.all(
        names.map(async (name): Promise<[string, OpenQueue][]> => {
          const { queue: url = `${aws.ingressQueue}-${name}` } = (await controls.read(name)).control;
          // Another target reads this queue now, and receives what waits in it.
          if (inUse.has(url)) return [];
          const opening = open.get(url) ?? openSqs(url);
          open.set(url, opening);
          return [[name, await opening]];
        }),
      );
      return new Map(found.flat());
    },
    close() {
      for (const opening of open.values()) opening.then((queue) => queue.close()).catch(() => {});
    },
  };
}

// Workers write the same control when a shadow fails, so a write may be refused a few times.
const writeTries = 20;

/** Notes the URL of each target's queue in the state, so that it is found after the target was removed. Throws `StateError`. */
export async function rememberQueues({ aws, targets, controls }: Omit<RemovedInSqsOptions, "jobs">): Promise<void> {
  const remember = async (name: string): Promise<void> => {
    const queue = aws.targetQueues.get(name) ?? aws.ingressQueue;
    for (let tries = 0; tries < writeTries; tries++) {
      const { control, version } = await controls.read(name);
      if (control.queue === queue || (await controls.write(name, { ...control, queue }, version))) return;
    }
    throw new StateError(`others changed the control of ${name} first, ${writeTries} times; this is temporary`);
  };
  await Promise.all(targets.map(({ name }) => remember(name)));
}

/** The names of all targets that the ledger has ever counted: it also counts captures and jobs. */
export function targetsIn(ledger: LedgerTotals): readonly string[] {
  return [...ledger.targets.keys()].filter((name) => jobIdOf(name) === undefined && !name.startsWith(captureKeyPrefix));
}

function namesOf(targets: Targets): ReadonlySet<string> {
  return new Set(targets.map(({ name }) => name));
}
