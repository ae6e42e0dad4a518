import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { findHaproxy, HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { until } from "../support/clocks/until.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { AgentProcess, droppedRequests } from "./agent-process.ts";
import type { Row } from "./table.ts";

const root = resolve(import.meta.dirname, "../..");
const rounds = 5;
const seconds = 4;
const connections = 32;

interface WrkResult {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

type Variant = "plain" | "floor" | "mirrored";

/**
 * Measures client requests per second through HAProxy: without mirroring, with an agent that only acknowledges, and with
 * everything mirrored. The three take turns; the results are medians of all rounds.
 */
export async function benchProxy(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
  const [plainPort, primary, floorPort, floorFrontend, floorStats, frontend, stats] = await freePorts(7);
  const agent = await AgentProcess.start();
  const floor = spawn(process.execPath, [join(import.meta.dirname, "floor-agent.ts"), String(floorPort)]);
  const program = findHaproxy(process.env.PATH ?? "");
  const plainFile = join(directory, "plain.cfg");
  writeFileSync(plainFile, plainConfig(plainPort, primary));
  const proxies = [
    new HaproxyProcess({ program, configFile: plainFile, variables: {}, onOutput: () => {} }),
    mirroring(program, { frontend: floorFrontend, stats: floorStats, primary, agent: floorPort }),
    mirroring(program, { frontend, stats, primary, agent: agent.port }),
  ];
  const urls: Record<Variant, string> = {
    plain: `http://127.0.0.1:${plainPort}/api/v1/items?page=1`,
    floor: `http://127.0.0.1:${floorFrontend}/api/v1/items?page=1`,
    mirrored: `http://127.0.0.1:${frontend}/api/v1/items?page=1`,
  };
  try {
    for (const url of Object.values(urls)) await answers(url);
    const results: Record<Variant, WrkResult[]> = { plain: [], floor: [], mirrored: [] };
    let cpuMs = 0;
    const before = (await agent.stats()).seen;
    for (let round = 0; round < rounds; round++) {
      results.plain.push(await wrk(urls.plain));
      results.floor.push(await wrk(urls.floor));
      const cpuBeforeMs = agent.cpuMs;
      results.mirrored.push(await wrk(urls.mirrored));
      cpuMs += agent.cpuMs - cpuBeforeMs;
    }
    const after = await agent.stats();
    const [plain, floorTypical, mirrored] = [median(results.plain), median(results.floor), median(results.mirrored)];
    return [
      { what: "plain", value: inWords(plain) },
      {
        what: "floor: an agent that only acknowledges",
        value: `${inWords(floorTypical)}; ${ratio(floorTypical, plain)} of plain`,
      },
      {
        what: "spoa-relay, everything mirrored",
        value: `${inWords(mirrored)}; ${ratio(mirrored, floorTypical)} of the floor, p99 × ${(mirrored.p99Ms / floorTypical.p99Ms).toFixed(2)}`,
      },
      {
        what: "agent, both threads",
        value: `${((cpuMs * 1_000) / (after.seen - before)).toFixed(1)} µs CPU a request; dropped ${droppedRequests(after)} of ${after.seen}; RSS ≤ ${agent.peakRssMb} MB`,
      },
    ];
  } finally {
    for (const proxy of proxies) await proxy.stop();
    await end(floor);
    await agent.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

function mirroring(
  program: string,
  ports: { readonly frontend: number; readonly stats: number; readonly primary: number; readonly agent: number },
): HaproxyProcess {
  return new HaproxyProcess({
    program,
    configFile: join(root, "agent/haproxy/haproxy.cfg"),
    variables: {
      RELAY_FRONTEND_PORT: String(ports.frontend),
      RELAY_STATS_PORT: String(ports.stats),
      RELAY_PRIMARY: `127.0.0.1:${ports.primary}`,
      RELAY_AGENT: `127.0.0.1:${ports.agent}`,
      RELAY_LOG_LEVEL: "notice",
    },
    onOutput: () => {},
  });
}

async function answers(url: string): Promise<void> {
  await until(async () => (await fetch(url).catch(() => undefined))?.ok === true);
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  await once(child, "exit");
}

function plainConfig(port: number, primary: number): string {
  return `defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend plain
  bind 127.0.0.1:${port}
  default_backend primary
backend primary
  server primary1 127.0.0.1:${primary}
frontend origin
  bind 127.0.0.1:${primary}
  http-request return status 200 content-type application/json string "{}"
`;
}

async function wrk(url: string): Promise<WrkResult> {
  const { stdout } = await promisify(execFile)("wrk", ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency", url]);
  return {
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    p50Ms: toMs(/^ +50%\s+(\S+)/m.exec(stdout)?.[1]),
    p99Ms: toMs(/^ +99%\s+(\S+)/m.exec(stdout)?.[1]),
  };
}

function toMs(text = ""): number {
  const units: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000 };
  const match = /^([\d.]+)(us|ms|s)$/.exec(text);
  return match ? Number(match[1]) * units[match[2]] : Number.NaN;
}

function median(results: readonly WrkResult[]): WrkResult {
  const middle = (pick: (result: WrkResult) => number): number =>
    results.map(pick).sort((a, b) => a - b)[Math.floor(results.length / 2)];
  return {
    requestsPerSecond: middle((result) => result.requestsPerSecond),
    p50Ms: middle((result) => result.p50Ms),
    p99Ms: middle((result) => result.p99Ms),
  };
}

function ratio(result: WrkResult, reference: WrkResult): string {
  return (result.requestsPerSecond / reference.requestsPerSecond).toFixed(2);
}

function inWords({ requestsPerSecond, p50Ms, p99Ms }: WrkResult): string {
  return `${Math.round(requestsPerSecond).toLocaleString("en-US")} requests/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
}
