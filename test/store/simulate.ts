import { styleText } from "node:util";
import { measureStore, type StoreLoad } from "./store-load.ts";
import { keyLimits, toLines } from "./store-table.ts";

// The SDK refuses to call an emulator without credentials.
process.env.AWS_ACCESS_KEY_ID = "simulation";
process.env.AWS_SECRET_ACCESS_KEY = "simulation";

const loads: readonly StoreLoad[] = [
  { requestsPerSecond: 10_000, targets: 5, agents: 20, workers: 40, seconds: 3 },
  { requestsPerSecond: 10_000, targets: 5, agents: 1_000, workers: 300, seconds: 3 },
  { requestsPerSecond: 100_000, targets: 5, agents: 1_000, workers: 300, seconds: 3 },
];

// `npm run simulate:store`: exits with 1 if a partition key is above half of what DynamoDB allows.
let worst = 0;
for (const load of loads) {
  const { requestsPerSecond, targets, agents, workers } = load;
  const title = `${requestsPerSecond.toLocaleString("en-US")} requests/s to each of ${targets} targets, ${agents} agents, ${workers} replay functions a target`;
  console.log(`\n${styleText("bold", title)}`);
  const uses = await measureStore(load);
  for (const line of toLines(uses)) console.log(`  ${line}`);
  for (const { writesOfOneKey, readsOfOneKey } of uses.values()) {
    worst = Math.max(worst, writesOfOneKey / keyLimits.writes, readsOfOneKey / keyLimits.reads);
  }
}
console.log(`\nThe busiest key uses ${Math.round(worst * 100)} % of its limit; half of it is allowed.`);
process.exitCode = worst < 0.5 ? 0 : 1;
