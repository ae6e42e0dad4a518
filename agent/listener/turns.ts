// Time for large chunks in one round of the event loop, before other connections are looked at.
const roundMs = 1;

/** Work that can be done piece by piece. */
export interface Task {
  /** Tasks of the same owner share its turns. */
  readonly owner: string;
  /** Does pieces of the work, one at least, while `hasTime` returns true. Returns true if some are left. */
  work(hasTime: () => boolean): boolean;
}

/**
 * Lets connections with much to do take turns, so that the event loop soon comes back to those with little. In each round of the
 * event loop, work of about one millisecond is done; the rest waits for the next rounds. Owners take turns, and each owner's
 * tasks among themselves: a peer with many connections gets no more turns than another with one.
 */
export class Turns {
  /** The tasks that wait, by their owners, both in the order of their turns. */
  readonly #waiting = new Map<string, Set<Task>>();
  #spentMs = 0;
  #roundEnds = false;

  /** Does the task at once if this round has time, counted from `startMs`, and nobody waits. Otherwise it waits for its turn. */
  begin(task: Task, startMs = performance.now()): void {
    if (this.#waiting.get(task.owner)?.has(task)) return;
    this.#endRound();
    if (this.#waiting.size > 0 || this.#spentMs >= roundMs || this.#do(task, startMs)) this.#wait(task);
  }

  /** Counts time of this round that follows from a task and is not in its work, such as reading what its peer sends next. */
  charge(ms: number): void {
    this.#spentMs += ms;
  }

  forget(task: Task): void {
    const tasks = this.#waiting.get(task.owner);
    if (!tasks?.delete(task)) return;
    if (tasks.size === 0) this.#waiting.delete(task.owner);
  }

  /** Does all work that waits. */
  finish(): void {
    for (let task = this.#first(); task; task = this.#first()) {
      this.forget(task);
      task.work(() => true);
    }
  }

  #first(): Task | undefined {
    for (const tasks of this.#waiting.values()) for (const task of tasks) return task;
    return undefined;
  }

  /** Places the task last among those of its owner. */
  #wait(task: Task): void {
    const tasks = this.#waiting.get(task.owner) ?? new Set();
    tasks.delete(task);
    tasks.add(task);
    this.#waiting.set(task.owner, tasks);
    this.#endRound();
  }

  /** Returns true if some of the work is left. */
  #do(task: Task, startMs: number): boolean {
    const endMs = startMs + roundMs - this.#spentMs;
    const left = task.work(() => performance.now() < endMs);
    this.#spentMs += performance.now() - startMs;
    return left;
  }

  #endRound(): void {
    if (this.#roundEnds) return;
    this.#roundEnds = true;
    setImmediate(() => {
      this.#roundEnds = false;
      this.#spentMs = 0;
      while (this.#waiting.size > 0 && this.#spentMs < roundMs) this.#turn();
      if (this.#waiting.size > 0) this.#endRound();
    });
  }

  /** The turn of the first task of the first owner. Both are last after it, if they have more to do. */
  #turn(): void {
    const task = this.#first() as Task;
    const { owner } = task;
    this.forget(task);
    const others = this.#waiting.get(owner);
    if (others) {
      this.#waiting.delete(owner);
      this.#waiting.set(owner, others);
    }
    if (this.#do(task, performance.now())) this.#wait(task);
  }
}
