import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";

/**
 * Lowers the priority of the calling thread: if cores are scarce, the thread that acknowledges must not wait for the
 * one that compresses. Has no effect outside Linux, or if the process is not permitted to.
 */
export function yieldToOthers(): void {
  try {
    // "PID/task/TID" of the calling thread. Linux also accepts the number of a thread instead of a process.
    const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    setPriority(thread, niceness);
  } catch {
    // A process without this permission runs with its old priority: only its speed differs.
  }
}

// With a higher number, packs would wait until the agent's buffer is full if HAProxy uses all cores.
const niceness = 5;
