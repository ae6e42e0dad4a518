import { benchProxy } from "./proxy-bench.ts";
import { benchSession } from "./session-bench.ts";
import { benchSpop, profileAgent } from "./spop-bench.ts";
import { printTable } from "./table.ts";

// `npm run bench`. Machines differ and are noisy: compare what stands in one run.
printTable("Protocol, in this process", benchSession());
printTable("Agent under a load generator that plays HAProxy", await benchSpop());
printTable("Through HAProxy on this machine, wrk -t1 -c32", await benchProxy());
printTable("Where the agent's time goes in the flood", await profileAgent());
