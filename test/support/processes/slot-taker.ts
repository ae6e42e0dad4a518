import { writeSync } from "node:fs";
import { Pacer } from "../../../relay/replay/pacer.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";

// Prints `ready`, waits for a line, acquires slots for some seconds, and prints the time of each in microseconds.

const [directory, target, ratePerSecond, seconds] = process.argv.slice(2);
const state = EmbeddedState.open(directory);

writeSync(1, "ready\n");
process.stdin.once("data", async () => {
  const pacer = new Pacer(target, { ratePerSecond: Number(ratePerSecond), refresh: async () => {} }, state.rounds);
  const times: number[] = [];
  const stop = AbortSignal.timeout(Number(seconds) * 1_000);
  while (!stop.aborted) {
    await pacer.acquire(stop).then(
      () => times.push(Date.now() * 1_000),
      () => {},
    );
  }
  writeSync(1, times.map((timeUs) => `${timeUs}\n`).join(""));
  state.close();
  process.exit();
});
