/** Runs the tasks of a key one after the other, in the order of the calls. Tasks of different keys run concurrently. */
export class KeyTurns {
  readonly #last = new Map<string, Promise<void>>();

  /** Resolves when the task has ended. The task must not reject. */
  run(key: string, task: () => Promise<void>): Promise<void> {
    const before = this.#last.get(key);
    const turn = before ? before.then(task) : task();
    this.#last.set(key, turn);
    return turn.finally(() => {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    });
  }
}
