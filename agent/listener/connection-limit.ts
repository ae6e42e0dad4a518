import { readdirSync, readFileSync } from "node:fs";

// A connection needs about 6 KB of memory besides what HeldBytes counts, and HAProxy at most one for each of its own.
const mostConnections = 16_384;
/** The most connections to `agent.admin`: a few scrapers and health checks need no more. */
export const mostAdminConnections = 32;
// Descriptors for the queue, the journal, the listener of the admin address, and a new connection while an old one is being closed.
const reserve = 64 + mostAdminConnections;

/**
 * The connections that this process can have: as many as its limit of open files allows (`LimitNOFILE`, `ulimit -n`), less a
 * reserve for everything else. `openFiles` is how many it has open without connections; by default, what it has now.
 */
export function connectionLimit(maxOpenFiles = readMaxOpenFiles(), openFiles = countOpenFiles()): number {
  const free = maxOpenFiles - openFiles;
  return Math.max(1, Math.min(mostConnections, free - Math.min(reserve, Math.floor(free / 2))));
}

/** Infinity if the system does not say. */
function readMaxOpenFiles(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function countOpenFiles(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return 0;
  }
}
