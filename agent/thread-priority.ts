import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";

/**
 * Lets every other thread go first where there are fewer cores than work: the thread that acknowledges must not wait for the
 * one that compresses. Linux only; elsewhere, and where it is not permitted, nothing changes.
 */
export function yieldToOthers(): void {
  try {
    // "PID/task/TID" of the thread that asks. Linux takes a thread's number where POSIX has a process.
    const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    setPriority(thread, niceness);
  } catch {
    // Only speed depends on it.
  }
}

// Not more: on a machine where HAProxy takes all it can get, packs would wait until there is no room for them.
const niceness = 5;
