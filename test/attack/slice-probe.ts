import { openSync, readSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

// Loaded into an attacked process with `--import`. On SIGUSR2 it prints the longest time for which the main thread computed without
// coming back to its sockets since the last signal. Waiting for a CPU is not counted: on a busy machine it says nothing.

const mostChars = 96;
const mostReadMs = 0.2;

if (isMainThread) {
  // Computed, waited for a CPU, slices: in nanoseconds.
  const file = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
  const bytes = Buffer.alloc(mostChars);
  /** The time without that for which the thread has waited for a CPU. */
  const nowMs = () => {
    for (;;) {
      const beforeMs = performance.now();
      const read = readSync(file, bytes, 0, mostChars, 0);
      // If the thread waited in between, the two times do not belong together.
      if (performance.now() - beforeMs > mostReadMs) continue;
      return beforeMs - Number(bytes.toString("latin1", 0, read).split(" ")[1]) / 1e6;
    }
  };
  let longestMs = 0;
  let lastMs = nowMs();
  const look = () => {
    longestMs = Math.max(longestMs, nowMs() - lastMs);
    lastMs = nowMs();
    setImmediate(look);
  };
  setImmediate(look);
  process.on("SIGUSR2", () => {
    process.stdout.write(`longest slice: ${longestMs.toFixed(2)} ms\n`);
    longestMs = 0;
    lastMs = nowMs();
  });
}
