import { writeSync } from "node:fs";
import { EmbeddedState } from "../../relay/state/embedded.ts";

// Prints `ready`, waits for a line, leases slots for so many milliseconds and prints the start of each lease it is granted.

const [directory, target, slotUs, slots, forMs] = process.argv.slice(2);
const state = EmbeddedState.open(directory);

writeSync(1, "ready\n");
process.stdin.once("data", async () => {
  const endMs = performance.now() + Number(forMs);
  while (performance.now() < endMs) {
    const nowUs = Date.now() * 1_000;
    const grant = await state.lease(target, { nowUs, slotUs: Number(slotUs), slots: Number(slots) });
    if (grant.granted) writeSync(1, `${grant.startUs}\n`);
  }
  state.close();
  process.exit();
});
