import { writeSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { preciseNowUs, sentAtHeader } from "../clocks/sent-at.ts";

// A shadow in a process of its own that answers after the given milliseconds, by default at once, and records when each request arrived. Its own paths start with two
// slashes, unlike mirrored ones: `//count`, `//reset` and `//report`. Prints its port, and ends when standard input ends.

/** The answer to `//report`; times are microseconds since 1970. */
export interface ArrivalReport {
  /** For each request: its number (its path), when its worker sent it, and when it arrived. */
  readonly arrivals: readonly (readonly [number: number, sentAtUs: number, atUs: number])[];
  /** The longest time in which the shadow did not read its sockets. */
  readonly longestStallUs: number;
}

const latencyMs = Number(process.argv[2] ?? 0);
const stalls = monitorEventLoopDelay({ resolution: 1 });
let arrivals: [number, number, number][] = [];

const server = createServer((request, response) => {
  const atUs = preciseNowUs();
  const { url = "", headers } = request;
  if (url === "//count") {
    response.end(String(arrivals.length));
  } else if (url === "//reset") {
    arrivals = [];
    stalls.reset();
    stalls.enable();
    response.end();
  } else if (url === "//report") {
    const report: ArrivalReport = { arrivals, longestStallUs: stalls.max / 1_000 };
    response.end(JSON.stringify(report));
  } else {
    arrivals.push([Number(url.slice(1)), Number(headers[sentAtHeader]), atUs]);
    request.resume();
    if (latencyMs > 0) setTimeout(() => response.end(), latencyMs);
    else response.end();
  }
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => writeSync(1, `${(server.address() as AddressInfo).port}\n`));
process.stdin.resume().on("end", () => process.exit());
