import { styleText } from "node:util";
import { orAborted } from "../concurrency/or-aborted.ts";
import { addsUp, formatEquations } from "../stats/ledger-equations.ts";
import { arrivalBound, countEarly, wayAllowance } from "./arrival-bound.ts";
import { mostInWindow, plotArrivals } from "./arrival-plot.ts";
import type { JsonServer } from "./json-server.ts";
import { assertPortsFree, type DemoPorts } from "./ports.ts";
import { pacedRate, Stage, type StageOptions } from "./stage.ts";
import { StallWatch } from "./stall-watch.ts";
import { countLeftOut, formatArrivals, formatLeftOut, isMirrored, type Tally, toTally } from "./tally.ts";

export interface DemoOptions extends StageOptions {
  /** Whether everything keeps running after the checks. */
  readonly stay: boolean;
  /** Ends the demo at any moment. */
  readonly stop: AbortSignal;
  /** Ends the other processes at once while `stop` ends them in order. */
  readonly force: AbortSignal;
  readonly out: NodeJS.WriteStream;
}

// A slow machine misses slots, and needs longer.
const waitMs = 30_000;
const burst = 300;

/** Runs the demo; resolves with true if all of its checks ended and passed. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { out, stay, stop, force, ports } = options;
  await assertPortsFree(ports);
  const stage = new Stage(options);
  const report = new Report(out);
  // Output that cannot be written, as with `| head`, ends the process at once.
  const abandon = () => stage.abandon();
  process.once("exit", abandon);
  force.addEventListener("abort", () => stage.endNow());
  try {
    await orAborted(runChecks(stage, report, out), stop);
    if (stay) await stayUntil(stop, stage, ports, report);
  } catch (error) {
    if (!stop.aborted) throw error;
    report.line("\nStopped before all checks had ended.");
    return false;
  } finally {
    await stage.stop();
    process.off("exit", abandon);
  }
  return report.failures === 0;
}

async function runChecks(stage: Stage, report: Report, out: NodeJS.WriteStream): Promise<void> {
  report.line(`Starting HAProxy, primary, shadows and spoa-relay (logs and queue in ${stage.directory}) …`);
  await stage.start();
  await playAll(stage, report);
  const ledger = await stage.ledger(waitMs);
  report.line(`\n${formatEquations(ledger, out)}\n`);
  report.check("the ledger", addsUp(ledger), "every request is accounted for");
  reportVerdict(stage, report);
}

async function playAll(stage: Stage, report: Report): Promise<void> {
  const { primary, shadow, paced } = stage;
  primary.received.length = 0;

  await sendMany(10, (i) => stage.send(`/api/v1/items/${i}?n=1`));
  const items = await tallyOf(stage, shadow, "/api/v1/items/", 10);
  report.check(
    "1  10 × /api/v1",
    primary.received.length === 10 && items.offered === 10 && isMirrored(items),
    `${primary.received.length} answered by the primary, ${formatArrivals(items, "mirrored")}`,
  );

  await sendMany(100, (i) => stage.send(`/api/v2/items/${i}`));
  const half = await tallyOf(stage, shadow, "/api/v2/", 100);
  report.check(
    "2  100 × /api/v2",
    half.offered >= 25 && half.offered <= 75 && isMirrored(half),
    `${formatArrivals(half, "mirrored")}; about 50 expected`,
  );

  const json = Buffer.from(JSON.stringify({ order: 4711, name: "Grüße, 世界", items: [1, 2, 3] }));
  await stage
    .send("/api/v1/orders", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: json,
    })
    .then((response) => response.arrayBuffer());
  const orders = await tallyOf(stage, shadow, "/api/v1/orders", 1);
  const order = shadow.received.find(({ method, path }) => method === "POST" && path === "/api/v1/orders");
  report.check(
    "3  POST with JSON",
    order?.body.equals(json) === true,
    order ? `${order.body.length} of ${json.length} bytes, equal` : formatArrivals(orders, "mirrored"),
  );

  await sendMany(10, (i) => stage.send(`/api/v3/items/${i}`));
  const none = await tallyOf(stage, shadow, "/api/v3/items/", 10);
  report.check("4  10 × /api/v3", none.offered === 0 && none.arrived === 0, formatArrivals(none, "mirrored"));

  await shadow.stop();
  await sendMany(20, (i) => stage.send(`/api/v1/outage/${i}`));
  report.line("   the shadow is down; 20 requests wait in the queue …");
  await until(() => primary.received.filter(({ path }) => path.startsWith("/api/v1/outage/")).length === 20);
  await shadow.start();
  const late = await tallyOf(stage, shadow, "/api/v1/outage/", 20);
  report.check(
    "5  shadow stopped for 20, then started",
    late.offered === 20 && isMirrored(late),
    formatArrivals(late, "of 20 arrived"),
  );

  report.line(`   ${burst} requests at once for a target of ${pacedRate}/s …`);
  const stalls = new StallWatch();
  const burstAtMs = performance.now();
  await sendMany(burst, (i) => stage.send(`/api/v1/burst/${i}`));
  const paceable = await tallyOf(stage, paced, "/api/v1/burst/", burst);
  const stallMs = stalls.stop();
  const timesMs = paced.received.map(({ atMs }) => atMs);
  const early = countEarly(timesMs, burstAtMs, pacedRate);
  const most = mostInWindow(timesMs, 1_000);
  const bound = arrivalBound(pacedRate, 1_000, stallMs);
  report.check(
    `6  ${burst} at once into ${pacedRate}/s`,
    paceable.offered === burst && isMirrored(paceable) && early === 0 && most <= bound,
    `${formatArrivals(paceable, "arrived")}, ${early} before their slot; at most ${most} in any second (bound: ${bound}, ` +
      `including ${wayAllowance * 100} % for the network and a stall of the receiver of ${stallMs.toFixed(0)} ms)`,
  );
  report.line(plotArrivals(timesMs, 500));
}

/**
 * What happened to `count` requests that the primary answered, each with a path of its own that begins with `prefix`,
 * according to HAProxy and `server`. Waits until none is in flight.
 */
async function tallyOf(stage: Stage, server: JsonServer, prefix: string, count: number): Promise<Tally> {
  const arrived = () => server.received.filter(({ path }) => path.startsWith(prefix));
  await until(() => stage.logged(prefix).length >= count);
  const logged = stage.logged(prefix);
  const acknowledged = logged.filter(({ offered, error }) => offered && error === undefined).length;
  await until(() => arrived().length >= acknowledged);
  await stage.ledger(waitMs);
  return toTally(logged, arrived());
}

async function sendMany(count: number, send: (i: number) => Promise<Response>): Promise<void> {
  await Promise.all(Array.from({ length: count }, async (_, i) => (await send(i)).arrayBuffer()));
}

/** Waits for a fact for up to 30 s; the check that follows decides whether it holds. */
async function until(holds: () => boolean): Promise<void> {
  for (const untilMs = performance.now() + waitMs; !holds() && performance.now() < untilMs; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function reportVerdict(stage: Stage, report: Report): void {
  const all = toTally(stage.logged("/api/"), [...stage.shadow.received, ...stage.paced.received]);
  const leftOut = countLeftOut(all);
  if (leftOut > 0) report.line(`\n${formatLeftOut(all)}`);
  if (report.failures > 0) report.line(`\nChecks that failed: ${report.failures}; they are marked with ✗ above.`);
  else report.line(`\nAll checks passed${leftOut === 0 ? "" : ", apart from the requests that HAProxy left out"}.`);
}

async function stayUntil(stop: AbortSignal, stage: Stage, ports: DemoPorts, report: Report): Promise<void> {
  report.line(`
Everything keeps running; Ctrl+C stops it:
  HAProxy        ${stage.frontend}/api/v1/hello    mirrored; half of /api/v2, nothing of /api/v3
  statistics     http://127.0.0.1:${ports.stats}/
  primary        http://127.0.0.1:${ports.primary}/
  shadow         http://127.0.0.1:${ports.shadow}/    tail -f ${stage.directory}/shadow.log
  agent          127.0.0.1:${ports.agent}, counts http://127.0.0.1:${ports.agentAdmin}/stats
  host           counts http://127.0.0.1:${ports.hostAdmin}/stats
  configuration  ${stage.configFile}`);
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener("abort", resolve, { once: true }));
}

class Report {
  readonly #out: NodeJS.WriteStream;
  failures = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  line(text: string): void {
    this.#out.write(`${text}\n`);
  }

  check(what: string, holds: boolean, detail: string): void {
    if (!holds) this.failures++;
    const mark = holds ? styleText("green", "✓", { stream: this.#out }) : styleText("red", "✗", { stream: this.#out });
    this.line(`${mark}  ${what}: ${detail}`);
  }
}
