import { Semaphore } from "./semaphore.ts";

/** The place of a task among the tasks of its name. */
export interface QueuedTurn {
  /** Order among the tasks of its name: a task starts after all waiting tasks with a smaller place. */
  readonly place: number;
  /** Resolves when the task may start. Must not reject, and must resolve when the signal is aborted. */
  readonly ready: Promise<void>;
}

/** The tasks of one name. */
interface Line {
  readonly semaphore: Semaphore;
  readonly unready: Set<QueuedTurn>;
  users: number;
}

/** Runs the tasks of a name one after the other. Tasks of different names run concurrently. */
export class OrderedTurns {
  readonly #lines = new Map<string, Line>();

  /**
   * Settles like the task. If the signal is aborted before the task starts, rejects with the signal's reason once this
   * task and all waiting tasks before it are ready.
   */
  async run<T>(name: string, turn: QueuedTurn, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(name) ?? { semaphore: new Semaphore(1), unready: new Set(), users: 0 };
    this.#lines.set(name, line);
    line.users++;
    try {
      await awaitPlace(line.unready, turn);
      await line.semaphore.acquire(signal);
      try {
        return await task();
      } finally {
        line.semaphore.release();
      }
    } finally {
      if (--line.users === 0) this.#lines.delete(name);
    }
  }
}

/** If several tasks become ready at once, as after a stall, lets the one with the smallest place start first. */
async function awaitPlace(unready: Set<QueuedTurn>, turn: QueuedTurn): Promise<void> {
  unready.add(turn);
  try {
    await turn.ready;
    for (let next = findEarlier(unready, turn); next; next = findEarlier(unready, turn)) await next.ready;
  } finally {
    unready.delete(turn);
  }
}

/** The turn with the smallest place, if it is smaller than the given one's. */
function findEarlier(unready: ReadonlySet<QueuedTurn>, { place }: QueuedTurn): QueuedTurn | undefined {
  let earliest: QueuedTurn | undefined;
  for (const other of unready) if (other.place < (earliest?.place ?? place)) earliest = other;
  return earliest;
}
