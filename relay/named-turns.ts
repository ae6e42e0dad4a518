import { Semaphore } from "./semaphore.ts";

interface Turn {
  readonly semaphore: Semaphore;
  users: number;
}

/** Lets the tasks of one name run one after the other, and those of others side by side. */
export class NamedTurns {
  readonly #turns = new Map<string, Turn>();

  /** Settles as the task does. Rejects with the signal's reason where that is raised before it is the task's turn. */
  async run<T>(name: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const turn = this.#turns.get(name) ?? { semaphore: new Semaphore(1), users: 0 };
    this.#turns.set(name, turn);
    turn.users++;
    try {
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
