/** Lets the tasks of one key run one after the other, in the order in which they were given; those of others side by side. */
export class KeyTurns {
  readonly #last = new Map<string, Promise<void>>();

  /** Resolves when the task has ended. `task` must not reject. */
  run(key: string, task: () => Promise<void>): Promise<void> {
    const before = this.#last.get(key);
    const turn = before ? before.then(task) : task();
    this.#last.set(key, turn);
    return turn.finally(() => {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    });
  }
}
