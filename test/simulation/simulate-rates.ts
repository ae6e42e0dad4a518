import { parseArgs } from "node:util";
import { type RatePoint, type RateResult, simulate } from "./rate-point.ts";

// Prints the grid: what workers reach of a rate, and what it costs the store. `npm run simulate:rates -- --help`

const usage = `Usage: npm run simulate:rates -- [options]

Simulates workers that share the rate of a target: the product's code on a simulated clock and store. Prints a line for each
point: what they sent of min(rate, workers × concurrency / latency), and their calls to the store. Takes about an hour;
with --quick, two minutes.

  --quick            one round trip, 6 ms, and no more than 64 workers
  --rates LIST       requests a second (1,10,100,1000,10000)
  --workers LIST     (1,4,16,64,300)
  --concurrency LIST requests in flight of each worker (1,8,64)
  --latencies LIST   in ms, or heavy (1,50,1000,10000,heavy)
  --trips LIST       round trips to the store in ms (0.1,6,90,160)
  --seed N           (1)

Examples:
  npm run simulate:rates -- --quick
  npm run simulate:rates -- --rates 400 --workers 6 --concurrency 8 --latencies 100 --trips 0.1
`;

const { values } = parseArgs({
  options: {
    help: { type: "boolean", short: "h" },
    quick: { type: "boolean" },
    rates: { type: "string", default: "1,10,100,1000,10000" },
    workers: { type: "string" },
    concurrency: { type: "string", default: "1,8,64" },
    latencies: { type: "string", default: "1,50,1000,10000,heavy" },
    trips: { type: "string" },
    seed: { type: "string", default: "1" },
  },
});

if (values.help) {
  process.stdout.write(usage);
} else {
  await printGrid();
}

async function printGrid(): Promise<void> {
  const { quick, rates, concurrency, latencies } = values;
  const workers = values.workers ?? (quick ? "1,4,16,64" : "1,4,16,64,300");
  const trips = values.trips ?? (quick ? "6" : "0.1,6,90,160");
  const points: RatePoint[] = [];
  for (const ratePerSecond of numbers("rates", rates))
    for (const crew of numbers("workers", workers))
      for (const permits of numbers("concurrency", concurrency))
        for (const latency of latencies.split(","))
          for (const roundTripMs of numbers("trips", trips)) {
            const latencyMs = latency === "heavy" ? latency : numbers("latencies", latency)[0];
            points.push({ ratePerSecond, workers: crew, concurrency: permits, latencyMs, roundTripMs });
          }
  console.log(
    `${"rate".padStart(6)} ${"workers".padStart(8)} ${"in flight".padStart(10)} ${"latency".padStart(8)} ${"trip".padStart(7)}   possible     sent   writes/s  refused/s  reads/s  fewest–most  kept`,
  );
  const results: (readonly [RatePoint, RateResult])[] = [];
  for (const point of points) {
    const result = await simulate(point, Number(values.seed));
    results.push([point, result]);
    console.log(toLine(point, result));
  }
  printSum(results);
}

function printSum(results: readonly (readonly [RatePoint, RateResult])[]): void {
  const reached = results.filter(([, { achieved }]) => achieved >= 0.99);
  const most = (of: (result: RateResult) => number) => Math.max(...results.map(([, result]) => of(result)));
  console.log(`\n${reached.length} of ${results.length} points reach 99 % or more.`);
  const steady = results.filter(([{ latencyMs }]) => latencyMs !== "heavy");
  const steadyReached = steady.filter(([, { achieved }]) => achieved >= 0.99);
  const several = steady.filter(([{ concurrency }]) => concurrency > 1);
  const severalReached = several.filter(([, { achieved }]) => achieved >= 0.99);
  console.log(
    `${steadyReached.length} of ${steady.length} with equal latencies; ${severalReached.length} of ${several.length} of these with more than one request in flight.`,
  );
  console.log(`Above the bound: ${results.filter(([, { kept }]) => !kept).length}.`);
  console.log(
    `At most ${most(({ writes }) => writes).toFixed(1)} writes a second, ${most(({ refused }) => refused).toFixed(2)} of them refused, and ${most(({ reads }) => reads).toFixed(1)} reads.`,
  );
}

function toLine(
  { ratePerSecond, workers, concurrency, latencyMs, roundTripMs }: RatePoint,
  { possible, achieved, kept, writes, refused, reads, fewest, most }: RateResult,
): string {
  const cells = [
    `${ratePerSecond}/s`.padStart(7),
    String(workers).padStart(7),
    String(concurrency).padStart(10),
    (latencyMs === "heavy" ? "heavy" : `${latencyMs} ms`).padStart(9),
    `${roundTripMs} ms`.padStart(8),
    `${possible.toFixed(1)}/s`.padStart(11),
    `${(achieved * 100).toFixed(1)} %`.padStart(8),
    writes.toFixed(1).padStart(9),
    refused.toFixed(2).padStart(10),
    reads.toFixed(1).padStart(8),
    `${fewest.toFixed(2)}–${most.toFixed(2)}`.padStart(12),
    kept ? "  yes" : "  NO",
  ];
  return `${cells.join(" ")}${achieved < 0.99 ? "  below 99 %" : ""}`;
}

function numbers(flag: string, list: string): readonly number[] {
  const parsed = list.split(",").map(Number);
  if (parsed.every((number) => number > 0 && Number.isFinite(number))) return parsed;
  process.stderr.write(`--${flag} ${list}: must be numbers above 0, separated by commas\n`);
  process.exit(2);
}
