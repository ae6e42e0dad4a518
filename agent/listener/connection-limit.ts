import { readdirSync, readFileSync } from "node:fs";

// A connection needs about 6 KB of memory besides what HeldBytes counts, and HAProxy at most one for each of its own.
const mostConnections = 16_384;
// As many as `limitConnections` keeps by itself.
const mostAdminConnections = 512;
// Descriptors for the queue, the journal, the listener of the admin address, and a new connection while an old one is being closed.
const reserve = 64;

/** The connections to `agent.admin` that this process can have: an eighth of its limit of open files, 512 at most. */
export function adminConnectionLimit(maxOpenFiles = readMaxOpenFiles()): number {
  return Math.max(1, Math.min(mostAdminConnections, Math.floor(maxOpenFiles / 8)));
}

/**
 * The connections that this process can have: as many as its limit of open files allows (`LimitNOFILE`, `ulimit -n`), less those
 * to `agent.admin` and a reserve for everything else. `openFiles` is how many it has open without connections; by default, what it has now.
 */
export function connectionLimit(maxOpenFiles = readMaxOpenFiles(), openFiles = countOpenFiles()): number {
  const free = maxOpenFiles - openFiles;
  const others = reserve + adminConnectionLimit(maxOpenFiles);
  return Math.max(1, Math.min(mostConnections, free - Math.min(others, Math.floor(free / 2))));
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
