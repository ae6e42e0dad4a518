import { benchCaptures } from "./capture-bench.ts";
import { benchCost } from "./cost-bench.ts";
import { benchJobTiming } from "./job-timing.ts";
import { benchProxy } from "./proxy-bench.ts";
import { benchReplay, profileReplay } from "./replay-bench.ts";
import { benchSession } from "./session-bench.ts";
import { benchSpop, profileAgent } from "./spop-bench.ts";
import { printTable } from "./table.ts";

// The SDK refuses to call an emulator without credentials.
process.env.AWS_ACCESS_KEY_ID = "bench";
process.env.AWS_SECRET_ACCESS_KEY = "bench";

// `npm run bench`. Machines differ and are noisy: compare only figures of the same run.
printTable("Protocol, in this process", benchSession());
printTable("Agent under a load generator that plays HAProxy", await benchSpop());
printTable("Through HAProxy on this machine, wrk -t1 -c32", await benchProxy());
printTable("Where the agent's time goes in the flood", await profileAgent());
printTable("Replay of 1.2 kB requests to a shadow on this machine, 64 at once", await benchReplay());
printTable("Where the replay's time goes", await profileReplay());
for (const { title, rows } of await benchCost()) printTable(title, rows);
printTable("Captures in a directory", await benchCaptures());
const timing = await benchJobTiming();
printTable("Replay of a capture of 60,000 requests in a minute of bursts and silences", timing.rows);
console.log(`\n${timing.plot}`);
