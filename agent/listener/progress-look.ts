import type { Task } from "./turns.ts";

interface Looked {
  checkProgress(): void;
}

/** Looks at the progress of all connections, in turns: to close thousands of idle ones at once would delay ACKs. */
export function createProgressLook(connections: Iterable<Looked>): Task {
  let left: Iterator<Looked> | undefined;
  const work = (hasTime: () => boolean): boolean => {
    left ??= connections[Symbol.iterator]();
    for (let next = left.next(); !next.done; next = left.next()) {
      next.value.checkProgress();
      if (!hasTime()) return true;
    }
    left = undefined;
    return false;
  };
  return { owner: "progress", work };
}
