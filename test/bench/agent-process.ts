import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { agentNodeFlags } from "../../relay/process/service.ts";
import type { AgentStats } from "../../relay/stats/agent-stats.ts";
import { until } from "../support/clocks/until.ts";
import { freePorts } from "../support/servers/free-ports.ts";

const bundle = resolve(import.meta.dirname, "../../dist/agent.js");

/** The bundled agent in a process of its own. Linux only: its CPU and memory are read from /proc. */
export class AgentProcess {
  readonly port: number;
  readonly #admin: number;
  readonly #directory: string;
  readonly #child: ChildProcess;

  /** @param queue the value of `queue:`; an embedded queue by default */
  static async start({ queue = "embedded:./data", profile = false } = {}): Promise<AgentProcess> {
    const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
    const [port, admin] = await freePorts(2);
    const config = join(directory, "spoa-relay.yaml");
    writeFileSync(
      config,
      `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${admin}", drain: 10ms }
queue: ${queue}
targets: { none: { url: "http://127.0.0.1:1", rate: 1/s } }
log: silent
`,
    );
    const flags = profile ? ["--cpu-prof", `--cpu-prof-dir=${directory}`] : [];
    const child = spawn(process.execPath, [...agentNodeFlags, ...flags, bundle, "--config", config], {
      stdio: "inherit",
      env: {
        ...process.env,
        MALLOC_ARENA_MAX: "2",
        AWS_ACCESS_KEY_ID: "bench",
        AWS_SECRET_ACCESS_KEY: "bench",
        AWS_REGION: "us-east-1",
      },
    });
    const agent = new AgentProcess(port, admin, directory, child);
    await until(async () => (await fetch(`http://127.0.0.1:${admin}/healthz`).catch(() => undefined))?.ok === true);
    return agent;
  }

  private constructor(port: number, admin: number, directory: string, child: ChildProcess) {
    this.port = port;
    this.#admin = admin;
    this.#directory = directory;
    this.#child = child;
  }

  async stats(): Promise<AgentStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#admin}/stats`)).json()) as AgentStats;
  }

  /** User and system CPU time of all threads so far, in steps of 10 ms. */
  get cpuMs(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** The peak of its resident memory so far. */
  get peakRssMb(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1_024);
  }

  /** Ends the agent and returns the CPU profiles that it has written. */
  async stop(): Promise<string[]> {
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
    const profiles = readdirSync(this.#directory)
      .filter((file) => file.endsWith(".cpuprofile"))
      .map((file) => readFileSync(join(this.#directory, file), "utf8"));
    rmSync(this.#directory, { recursive: true, force: true });
    return profiles;
  }
}

export function droppedRequests(stats: AgentStats): number {
  return Object.values(stats.dropped).reduce((sum, count) => sum + count, 0);
}
