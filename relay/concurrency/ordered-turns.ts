import { Semaphore } from "./semaphore.ts";

/** When a task may begin. */
export interface TurnWish {
  /** Among the tasks of its name: it does not begin before those of earlier places that wait to be ready. */
  readonly place: number;
  /** Must not reject, and has to end when the signal is raised. */
  readonly ready: Promise<void>;
}

interface Turn {
  readonly semaphore: Semaphore;
  readonly unready: Set<TurnWish>;
  users: number;
}

/** Lets the tasks of one name run one after the other, and those of others side by side. */
export class NamedTurns {
  readonly #turns = new Map<string, Turn>();

  /**
   * Settles as the task does. Rejects with the signal's reason where that is raised before it is the task's turn, once it and
   * the earlier ones that wait are ready.
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

/** Of several that become ready at once, as after a stall, the one with the earliest place goes on first. */
async function awaitPlace(unready: Set<TurnWish>, wish: TurnWish): Promise<void> {
  unready.add(wish);
  try {
    await wish.ready;
    for (let next = findEarlier(unready, wish); next; next = findEarlier(unready, wish)) await next.ready;
  } finally {
    unready.delete(wish);
  }
}

/** The earliest of those before a wish. */
function findEarlier(unready: ReadonlySet<TurnWish>, { place }: TurnWish): TurnWish | undefined {
  let earliest: TurnWish | undefined;
  for (const other of unready) if (other.place < (earliest?.place ?? place)) earliest = other;
  return earliest;
}
