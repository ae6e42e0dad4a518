import { writeSync } from "node:fs";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";

// Prints `ready`, waits for a line, leases slots until `leases` of them have been granted, and prints the start of each lease.

const [directory, target, slotUs, slots, leases] = process.argv.slice(2);
const state = EmbeddedState.open(directory);

writeSync(1, "ready\n");
process.stdin.once("data", async () => {
  for (let granted = 0; granted < Number(leases); ) {
    const nowUs = Date.now() * 1_000;
    const grant = await state.leases.take(target, { nowUs, slotUs: Number(slotUs), slots: Number(slots) });
    if (!grant.granted) continue;
    granted++;
    writeSync(1, `${grant.startUs}\n`);
  }
  state.close();
  process.exit();
});
