import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { findHaproxy, HaproxyProcess } from "../../../relay/demo/haproxy-process.ts";
import { JsonServer } from "../../../relay/demo/json-server.ts";
import type { AgentStats } from "../../../relay/stats/agent-stats.ts";
import type { HostStats } from "../../../relay/stats/host-stats.ts";
import { type Equation, toEquations } from "../../../relay/stats/ledger-equations.ts";
import { faketimeVariables } from "../clocks/faketime.ts";
import { until } from "../clocks/until.ts";
import { freePorts } from "../servers/free-ports.ts";

const root = resolve(import.meta.dirname, "../../..");

export interface RigOptions {
  /** By name: the target's keys besides `url`, in YAML flow style, such as `rate: 50/s, sample: 50%`. */
  readonly targets: Readonly<Record<string, string>>;
  /** The targets are HAProxy itself: whatever is replayed comes back to it. */
  readonly loop?: boolean;
  /** Further lines at the top level, under `agent:` and under `host:`. */
  readonly top?: string;
  readonly agent?: string;
  readonly host?: string;
  /** The value of `queue:`; an embedded one by default. */
  readonly queue?: string;
  /** By name: the capture's keys in YAML flow style. */
  readonly captures?: Readonly<Record<string, string>>;
  readonly haproxy?: Readonly<Record<string, string>>;
  /** The number of agents behind HAProxy. */
  readonly agents?: 1 | 2;
  /** Runs HAProxy with a master process, so that it can be reloaded. */
  readonly master?: boolean;
  /** Changes the example configuration before HAProxy reads it; `file` is its name. */
  readonly configure?: (text: string, file: string) => string;
  /** The example to run: a file in the directory of `haproxy.cfg`, which is the default. */
  readonly example?: string;
}

const examples = resolve(root, "agent/haproxy");

/** A real HAProxy, real agent and host processes, and servers in this process as primary and shadows. */
export class Rig {
  readonly directory = mkdtempSync(join(tmpdir(), "spoa-relay-test-"));
  readonly primary: JsonServer;
  readonly shadows: Readonly<Record<string, JsonServer>>;
  readonly frontend: string;
  readonly #ports: Ports;
  readonly #options: RigOptions;
  readonly #output: string[] = [];
  #haproxy: HaproxyProcess | undefined;
  readonly agents: (ChildProcess | undefined)[] = [];
  readonly hosts: ChildProcess[] = [];

  static async start(options: RigOptions): Promise<Rig> {
    const names = Object.keys(options.targets);
    const [frontend, stats, primary, hostAdmin, secondAdmin, ...more] = await freePorts(9 + names.length);
    const agents = [0, 2].map((at) => ({ port: more[at], admin: more[at + 1] })).slice(0, options.agents ?? 1);
    const rig = new Rig(options, { frontend, stats, primary, agents, hostAdmin, secondAdmin, shadows: more.slice(4) });
    try {
      await rig.#start();
    } catch (error) {
      await rig.stop();
      throw new Error(`${(error as Error).message}\n${rig.output.slice(-2_000)}`, { cause: error });
    }
    return rig;
  }

  private constructor(options: RigOptions, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
    this.frontend = `http://127.0.0.1:${ports.frontend}`;
    this.primary = new JsonServer("primary", ports.primary, () => {});
    this.shadows = Object.fromEntries(
      Object.keys(options.targets).map((name, i) => [name, new JsonServer(name, ports.shadows[i], () => {})]),
    );
  }

  /** The output of agents, hosts and HAProxy so far. */
  get output(): string {
    return this.#output.join("");
  }

  get configFile(): string {
    return join(this.directory, "spoa-relay.yaml");
  }

  async startHost(): Promise<ChildProcess> {
    const first = this.hosts.length === 0 || this.hosts.every(hasEnded);
    const port = first ? this.#ports.hostAdmin : this.#ports.secondAdmin;
    const file = join(this.directory, `host-${port}.yaml`);
    writeFileSync(file, this.#config(port));
    const host = this.#spawn(["host", "--config", file]);
    this.hosts.push(host);
    await answers(`http://127.0.0.1:${port}/healthz`);
    return host;
  }

  get agent(): ChildProcess | undefined {
    return this.agents[0];
  }

  /** The admin address of the first agent. */
  get agentAdmin(): string {
    return `http://127.0.0.1:${this.#ports.agents[0].admin}`;
  }

  /** The process of HAProxy, or of its master. */
  get haproxy(): HaproxyProcess {
    return this.#haproxy as HaproxyProcess;
  }

  async startAgent(index = 0): Promise<void> {
    const file = index === 0 ? this.configFile : join(this.directory, `agent-${index}.yaml`);
    writeFileSync(file, this.#config(this.#ports.hostAdmin, index));
    this.agents[index] = this.#spawn(["agent", "--config", file]);
    await answers(`http://127.0.0.1:${this.#ports.agents[index].admin}/readyz`);
  }

  async agentStats(index = 0): Promise<AgentStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#ports.agents[index].admin}/stats`)).json()) as AgentStats;
  }

  /** The numbers of the agents that HAProxy's checks find up. */
  async agentsUp(): Promise<number[]> {
    const csv = await (await fetch(`http://127.0.0.1:${this.#ports.stats}/;csv`)).text();
    const isUp = (index: number) => new RegExp(`^mirror-agent,agent${index + 1},.*,UP,`, "m").test(csv);
    return [...this.agents.keys()].filter(isUp);
  }

  /** The stats of each run of an agent: those that still run, and those that have ended in order. */
  async allAgentStats(): Promise<AgentStats[]> {
    const running = [...this.agents.keys()].filter((index) => !hasEnded(this.agents[index] as ChildProcess));
    const ended = this.output
      .split("\n")
      .filter((line) => line.includes('"event":"stopped"') && line.includes('"seen"'));
    return [
      ...(await Promise.all(running.map((index) => this.agentStats(index)))),
      ...ended.map((line) => JSON.parse(line) as AgentStats),
    ];
  }

  /** The first agent's answer on /readyz. */
  async agentReadiness(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.#ports.agents[0].admin}/readyz`)).text();
  }

  async hostStats(): Promise<HostStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#ports.hostAdmin}/stats`)).json()) as HostStats;
  }

  /** Waits until no request waits any more; resolves with the ledger's equations. */
  async settledLedger(withinMs = 60_000): Promise<Equation[]> {
    await until(async () => {
      const pending = (await this.allAgentStats()).reduce((sum, stats) => sum + stats.pending, 0);
      const { ingress, targets } = await this.hostStats();
      return pending === 0 && ingress.messages === 0 && Object.values(targets).every(({ messages }) => messages === 0);
    }, withinMs);
    const host = await this.hostStats();
    return (await this.allAgentStats()).flatMap((agent) => toEquations(agent, host));
  }

  async stop(): Promise<void> {
    await this.#haproxy?.stop();
    for (const child of [...this.agents, ...this.hosts]) {
      if (!child || hasEnded(child)) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await Promise.all([this.primary, ...Object.values(this.shadows)].map((server) => server.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    await Promise.all([this.primary, ...Object.values(this.shadows)].map((server) => server.start()));
    await Promise.all([...this.#ports.agents.map((_, index) => this.startAgent(index)), this.startHost()]);
    this.#haproxy = new HaproxyProcess({
      program: haproxyProgram(),
      configFile: this.#haproxyConfig(),
      master: this.#options.master === true,
      variables: {
        RELAY_FRONTEND_PORT: String(this.#ports.frontend),
        RELAY_STATS_PORT: String(this.#ports.stats),
        RELAY_PRIMARY: `127.0.0.1:${this.#ports.primary}`,
        RELAY_AGENT: `127.0.0.1:${this.#ports.agents[0].port}`,
        RELAY_LOG_LEVEL: "notice",
        // Test machines may stall for seconds, and these tests are not about latency.
        RELAY_PROCESSING_TIMEOUT: "5s",
        RELAY_BODY_WAIT: "5s",
        ...faketimeVariables,
        ...this.#options.haproxy,
      },
      onOutput: (text) => this.#output.push(text),
    });
    await answers(`${this.frontend}/api/v3/ready`);
    this.primary.received.length = 0;
  }

  #spawn(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [join(root, "relay/main.ts"), ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    // By whole lines, so that the output of several processes does not mix within a line.
    for (const stream of [child.stdout, child.stderr] as Readable[]) {
      createInterface(stream).on("line", (line) => this.#output.push(`${line}\n`));
    }
    return child;
  }

  /** Writes a copy of the example with this rig's changes; returns its path. */
  #haproxyConfig(): string {
    const { example = "haproxy.cfg", agents, configure = (text) => text } = this.#options;
    for (const file of readdirSync(examples)) {
      const text = readFileSync(join(examples, file), "utf8");
      const second = `    server agent2 127.0.0.1:${this.#ports.agents.at(-1)?.port}\n`;
      const servers = agents === 2 ? text.replace(/^ *server agent1 .*\n/m, (line) => line + second) : text;
      writeFileSync(join(this.directory, file), configure(toPatient(servers), file));
    }
    return join(this.directory, example);
  }

  #config(hostAdmin: number, agent = 0): string {
    const { frontend, shadows } = this.#ports;
    const targets = Object.entries(this.#options.targets).map(
      ([name, keys], i) =>
        `  ${name}: { url: "http://127.0.0.1:${this.#options.loop ? frontend : shadows[i]}", ${keys} }\n`,
    );
    const captures = Object.entries(this.#options.captures ?? {}).map(([name, keys]) => `  ${name}: { ${keys} }\n`);
    return `agent:
  listen: 127.0.0.1:${this.#ports.agents[agent].port}
  admin: 127.0.0.1:${this.#ports.agents[agent].admin}
${this.#options.agent ?? ""}
host:
  admin: 127.0.0.1:${hostAdmin}
${this.#options.host ?? ""}
${this.#options.top ?? ""}
queue: ${this.#options.queue ?? "embedded:./data"}
targets:
${targets.join("")}${captures.length > 0 ? `captures:\n${captures.join("")}` : ""}`;
  }
}

interface Ports {
  readonly frontend: number;
  readonly stats: number;
  readonly primary: number;
  readonly agents: readonly { readonly port: number; readonly admin: number }[];
  readonly hostAdmin: number;
  readonly secondAdmin: number;
  readonly shadows: readonly number[];
}

/** The HAProxy that the matrix names in the variable HAPROXY, else the installed one. */
export function haproxyProgram(): string {
  return process.env.HAPROXY || findHaproxy(process.env.PATH ?? "");
}

/**
 * The example configuration for a test machine that may stall for seconds. HAProxy stops mirroring if connecting to an agent or
 * checking it takes longer than the example allows, and these tests are about what is mirrored, not about latency.
 */
export function toPatient(text: string): string {
  return text
    .replace(/timeout hello \S+/, "timeout hello 4s")
    .replace(/timeout connect \S*200ms\S*/, "timeout connect 5s\n    timeout check 5s");
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

// A process starts within a second, and on a busy machine within a minute.
const startMs = 60_000;

async function answers(url: string): Promise<void> {
  await until(async () => {
    const response = await fetch(url).catch(() => undefined);
    await response?.body?.cancel();
    return response?.ok === true;
  }, startMs);
}
