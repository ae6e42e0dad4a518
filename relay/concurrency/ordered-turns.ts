import { Semaphore } from "./semaphore.ts";

/** When a task may begin. */
export interface TurnWish {
  /** Order among the tasks of its name: a task starts after all waiting tasks with a smaller place. */
  readonly place: number;
  /** Resolves when the task may start. Must not reject, and must resolve when the signal is aborted. */
  readonly ready: Promise<void>;
}

interface Turn {
  readonly semaphore: Semaphore;
  readonly unready: Set<TurnWish>;
  users: number;
}

/** Runs the tasks of a name one after the other. Tasks of different names run concurrently. */
export class NamedTurns {
  readonly #turns = new Map<string, Turn>();

  /**
   * Settles like the task. If the signal is aborted before the task starts, rejects with the signal's reason once this
   * task and all waiting tasks before it are ready.
   */
  async run<T>(name: string, wish: TurnWish, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const turn = this.#turns.get(name) ?? { semaphore: new Semaphore(1), unready: new Set(), users: 0 };
    this.#turns.set(name, turn);
    turn.users++;
    try {
      await awaitPlace(turn.unready, wish);
      await turn.semaphore.acquire(signal);
      try {
        return await task();
      } finally {
        turn.semaphore.release();
      }
    } finally {
      if (--turn.users === 0) this.#turns.delete(name);
    }
  }
}

/** If several tasks become ready at once, as after a stall, lets the one with the smallest place start first. */
async function awaitPlace(unready: Set<TurnWish>, wish: TurnWish): Promise<void> {
  unready.add(wish);
  try {
    await wish.ready;
    for (let next = findEarlier(unready, wish); next; next = findEarlier(unready, wish)) await next.ready;
  } finally {
    unready.delete(wish);
  }
}

/** The task with the smallest place, if that is smaller than `place`. */
function findEarlier(unready: ReadonlySet<TurnWish>, { place }: TurnWish): TurnWish | undefined {
  let earliest: TurnWish | undefined;
  for (const other of unready) if (other.place < (earliest?.place ?? place)) earliest = other;
  return earliest;
}
