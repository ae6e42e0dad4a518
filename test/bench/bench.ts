import { benchCost } from "./cost-bench.ts";
import { benchProxy } from "./proxy-bench.ts";
import { benchSession } from "./session-bench.ts";
import { benchSpop, profileAgent } from "./spop-bench.ts";
import { printTable } from "./table.ts";

// For the SDK, which finds no emulator without them.
process.env.AWS_ACCESS_KEY_ID = "bench";
process.env.AWS_SECRET_ACCESS_KEY = "bench";

// `npm run bench`. Machines differ and are noisy: compare what stands in one run.
printTable("Protocol, in this process", benchSession());
printTable("Agent under a load generator that plays HAProxy", await benchSpop());
printTable("Through HAProxy on this machine, wrk -t1 -c32", await benchProxy());
printTable("Where the agent's time goes in the flood", await profileAgent());
for (const { title, rows } of await benchCost()) printTable(title, rows);
