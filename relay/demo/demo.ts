import { styleText } from "node:util";
import { addsUp, formatEquations } from "../stats/ledger-equations.ts";
import { arrivalBound, countEarly, wayAllowance } from "./arrival-bound.ts";
import { mostInWindow, plotArrivals } from "./arrival-plot.ts";
import type { JsonServer } from "./json-server.ts";
import { assertPortsFree, type DemoPorts } from "./ports.ts";
import { pacedRate, Stage, type StageOptions } from "./stage.ts";
import { StallWatch } from "./stall-watch.ts";

export interface DemoOptions extends StageOptions {
  /** Leave everything running until this signal is raised. */
  readonly stay: AbortSignal | undefined;
  readonly out: NodeJS.WriteStream;
}

// A slow machine gives slots up, and takes longer.
const waitMs = 30_000;
const burst = 300;

/** Runs the demo and resolves with true where everything it promises held. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { out, stay, ports } = options;
  await assertPortsFree(ports);
  const stage = new Stage(options);
  const report = new Report(out);
  try {
    report.line(`Starting HAProxy, primary, shadows and spoa-relay (logs and queue in ${stage.directory}) …`);
    await stage.start();
    await playAll(stage, report);
    const ledger = await stage.ledger(waitMs);
    report.line(`\n${formatEquations(ledger, out)}\n`);
    report.check("the ledger", addsUp(ledger), "every request is accounted for");
    report.line(report.failures === 0 ? "\nAll as promised." : `\n${report.failures} of the above did not hold.`);
    if (stay) await stayUntil(stay, stage, ports, report);
  } finally {
    await stage.stop();
  }
  return report.failures === 0;
}

async function playAll(stage: Stage, report: Report): Promise<void> {
  const { frontend, primary, shadow, paced } = stage;
  primary.received.length = 0;

  await sendMany(10, () => fetch(`${frontend}/api/v1/items?n=1`));
  await arrived(shadow, 10);
  report.check(
    "1  10 × /api/v1",
    primary.received.length === 10 && shadow.received.length === 10,
    `${primary.received.length} answered by the primary, ${shadow.received.length} mirrored`,
  );

  const beforeHalf = shadow.received.length;
  await sendMany(100, () => fetch(`${frontend}/api/v2/items`));
  await marker(stage, "half");
  const half = shadow.received.length - beforeHalf - 1;
  report.check("2  100 × /api/v2", half >= 25 && half <= 75, `${half} mirrored; about 50 expected`);

  const json = Buffer.from(JSON.stringify({ order: 4711, name: "Grüße, 世界", items: [1, 2, 3] }));
  await fetch(`${frontend}/api/v1/orders`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: json,
  }).then((response) => response.arrayBuffer());
  const isOrder = ({ method, path }: { method: string; path: string }) =>
    method === "POST" && path === "/api/v1/orders";
  await until(() => shadow.received.some(isOrder));
  const order = shadow.received.find(isOrder);
  report.check(
    "3  POST with JSON",
    order?.body.equals(json) === true,
    `${order?.body.length ?? 0} of ${json.length} bytes, equal`,
  );

  const beforeNone = shadow.received.length;
  await sendMany(10, () => fetch(`${frontend}/api/v3/items`));
  await marker(stage, "none");
  report.check("4  10 × /api/v3", shadow.received.length - beforeNone - 1 === 0, "0 mirrored");

  await shadow.stop();
  const beforeOutage = shadow.received.length;
  await sendMany(20, (i) => fetch(`${frontend}/api/v1/outage/${i}`));
  report.line("   the shadow is down; 20 requests wait in the queue …");
  await until(() => primary.received.filter(({ path }) => path.startsWith("/api/v1/outage/")).length === 20);
  await shadow.start();
  await arrived(shadow, beforeOutage + 20);
  const late = new Set(shadow.received.slice(beforeOutage).map(({ path }) => path)).size;
  report.check("5  shadow stopped for 20, then started", late === 20, `${late} of 20 arrived`);

  report.line(`   ${burst} requests at once for a target of ${pacedRate}/s …`);
  const stalls = new StallWatch();
  const burstAtMs = performance.now();
  await sendMany(burst, (i) => fetch(`${frontend}/api/v1/burst/${i}`));
  await arrived(paced, burst);
  const stallMs = stalls.stop();
  const timesMs = paced.received.map(({ atMs }) => atMs);
  const early = countEarly(timesMs, burstAtMs, pacedRate);
  const most = mostInWindow(timesMs, 1_000);
  const bound = arrivalBound(pacedRate, 1_000, stallMs);
  report.check(
    `6  ${burst} at once into ${pacedRate}/s`,
    timesMs.length === burst && early === 0 && most <= bound,
    `${timesMs.length} arrived, ${early} before their slot; at most ${most} in any second (bound: ${bound}, with ` +
      `${wayAllowance * 100} % for the way and ${stallMs.toFixed(0)} ms for which the receiver stood still)`,
  );
  report.line(plotArrivals(timesMs, 500));
}

/** Sends a mirrored request behind the others and waits for it: what was sent before has arrived by then, or never will. */
async function marker({ frontend, shadow }: Stage, name: string): Promise<void> {
  const path = `/api/v1/marker/${name}`;
  await fetch(`${frontend}${path}`).then((response) => response.arrayBuffer());
  await until(() => shadow.received.some((request) => request.path === path));
}

async function sendMany(count: number, send: (i: number) => Promise<Response>): Promise<void> {
  await Promise.all(Array.from({ length: count }, async (_, i) => (await send(i)).arrayBuffer()));
}

async function arrived(server: JsonServer, count: number): Promise<void> {
  await until(() => server.received.length >= count);
}

/** Waits for a fact; gives up after a while and leaves the verdict to the check that follows. */
async function until(holds: () => boolean): Promise<void> {
  for (const untilMs = Date.now() + waitMs; !holds() && Date.now() < untilMs; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function stayUntil(stay: AbortSignal, stage: Stage, ports: DemoPorts, report: Report): Promise<void> {
  report.line(`
Left running, Ctrl+C ends it:
  HAProxy        ${stage.frontend}/api/v1/hello    mirrored; /api/v2 by half, /api/v3 not
  statistics     http://127.0.0.1:${ports.stats}/
  primary        http://127.0.0.1:${ports.primary}/
  shadow         http://127.0.0.1:${ports.shadow}/    tail -f ${stage.directory}/shadow.log
  agent          127.0.0.1:${ports.agent}, figures http://127.0.0.1:${ports.agentAdmin}/stats
  host           figures http://127.0.0.1:${ports.hostAdmin}/stats
  configuration  ${stage.configFile}`);
  if (!stay.aborted) await new Promise((resolve) => stay.addEventListener("abort", resolve, { once: true }));
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
