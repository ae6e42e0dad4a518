import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import type { AgentStats } from "../../relay/agent-stats.ts";
import { findHaproxy, HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { freePorts } from "../support/rig.ts";
import { until } from "../support/until.ts";
import type { Row } from "./table.ts";

const root = resolve(import.meta.dirname, "../..");
const rounds = 3;
const seconds = 4;
const connections = 32;

interface WrkResult {
  readonly requestsPerSecond: number;
  readonly p50: string;
  readonly p99: string;
}

/** Client requests a second through HAProxy: plain, and with everything mirrored by the agent; taken in turns. */
export async function benchProxy(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
  const [plainPort, frontend, stats, primary, agentPort, admin, hostAdmin] = await freePorts(7);
  const configFile = join(directory, "spoa-relay.yaml");
  writeFileSync(
    configFile,
    `agent: { listen: "127.0.0.1:${agentPort}", admin: "127.0.0.1:${admin}" }
host: { admin: "127.0.0.1:${hostAdmin}" }
queue: embedded:./data
targets: { none: { url: "http://127.0.0.1:1", rate: 1/s } }
log: warn
`,
  );
  const agent = spawn(process.execPath, [join(root, "relay/main.ts"), "agent", "--config", configFile], {
    stdio: "inherit",
  });
  const program = findHaproxy(process.env.PATH ?? "");
  const plainFile = join(directory, "plain.cfg");
  writeFileSync(plainFile, plainConfig(plainPort, primary));
  const onOutput = () => {};
  const plain = new HaproxyProcess({ program, configFile: plainFile, variables: {}, onOutput });
  const mirrored = new HaproxyProcess({
    program,
    configFile: join(root, "agent/haproxy/haproxy.cfg"),
    variables: {
      RELAY_FRONTEND_PORT: String(frontend),
      RELAY_STATS_PORT: String(stats),
      RELAY_PRIMARY: `127.0.0.1:${primary}`,
      RELAY_AGENT: `127.0.0.1:${agentPort}`,
      RELAY_LOG_LEVEL: "notice",
    },
    onOutput,
  });
  try {
    await until(async () => (await fetch(`http://127.0.0.1:${admin}/readyz`).catch(() => undefined))?.ok === true);
    await until(async () => (await fetch(`http://127.0.0.1:${frontend}/api/v1/`).catch(() => undefined))?.ok === true);
    const results: { plain: WrkResult; mirrored: WrkResult }[] = [];
    let cpuMs = 0;
    const before = await agentStats(admin);
    for (let round = 0; round < rounds; round++) {
      const plainResult = await wrk(`http://127.0.0.1:${plainPort}/api/v1/items?page=1`);
      const cpuBeforeMs = cpuTimeMs(agent.pid);
      const mirroredResult = await wrk(`http://127.0.0.1:${frontend}/api/v1/items?page=1`);
      cpuMs += cpuTimeMs(agent.pid) - cpuBeforeMs;
      results.push({ plain: plainResult, mirrored: mirroredResult });
    }
    const after = await agentStats(admin);
    const seen = after.seen - before.seen;
    const dropped = Object.values(after.dropped).reduce((sum, count) => sum + count, 0);
    const typical = results.toSorted((a, b) => ratio(a) - ratio(b))[Math.floor(rounds / 2)];
    return [
      { what: "HAProxy plain", value: inWords(typical.plain) },
      {
        what: "HAProxy, every request mirrored",
        value: `${inWords(typical.mirrored)}, ${ratio(typical).toFixed(2)} of plain`,
      },
      { what: "agent CPU a mirrored request, both threads", value: `${((cpuMs * 1_000) / seen).toFixed(1)} µs` },
      { what: "seen by the agent, of these dropped", value: `${seen}, ${dropped}` },
    ];
  } finally {
    await plain.stop();
    await mirrored.stop();
    agent.kill("SIGTERM");
    await once(agent, "exit");
    rmSync(directory, { recursive: true, force: true });
  }
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
  const value = (pattern: RegExp): string => pattern.exec(stdout)?.[1] ?? "?";
  return {
    requestsPerSecond: Number(value(/Requests\/sec:\s+([\d.]+)/)),
    p50: value(/^ +50%\s+(\S+)/m),
    p99: value(/^ +99%\s+(\S+)/m),
  };
}

async function agentStats(admin: number): Promise<AgentStats> {
  return (await (await fetch(`http://127.0.0.1:${admin}/stats`)).json()) as AgentStats;
}

/** User and system time of a process and its threads; Linux only. A tick is 10 ms. */
function cpuTimeMs(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function ratio({ plain, mirrored }: { plain: WrkResult; mirrored: WrkResult }): number {
  return mirrored.requestsPerSecond / plain.requestsPerSecond;
}

function inWords({ requestsPerSecond, p50, p99 }: WrkResult): string {
  return `${Math.round(requestsPerSecond).toLocaleString("en-US")} requests/s, p50 ${p50}, p99 ${p99}`;
}
