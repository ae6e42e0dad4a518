import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { AgentStats } from "../../relay/agent-stats.ts";
import { type Equation, toEquations } from "../../relay/balance.ts";
import { findHaproxy, HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { JsonServer } from "../../relay/demo/json-server.ts";
import type { HostStats } from "../../relay/host-stats.ts";
import { until } from "./until.ts";

const root = resolve(import.meta.dirname, "../..");

export interface RigOptions {
  /** By name: the keys of the target in YAML flow style beside its url, such as `rate: 50/s, sample: 50%`. */
  readonly targets: Readonly<Record<string, string>>;
  /** Lines under `agent:` and `host:`. */
  readonly agent?: string;
  readonly host?: string;
  /** The value of `queue:`; an embedded one by default. */
  readonly queue?: string;
  readonly haproxy?: Readonly<Record<string, string>>;
}

/** Real HAProxy, real agent and host processes, and servers in this process as primary and shadows. */
export class Rig {
  readonly directory = mkdtempSync(join(tmpdir(), "spoa-relay-test-"));
  readonly primary: JsonServer;
  readonly shadows: Readonly<Record<string, JsonServer>>;
  readonly frontend: string;
  readonly #ports: Ports;
  readonly #options: RigOptions;
  readonly #output: string[] = [];
  #haproxy: HaproxyProcess | undefined;
  agent: ChildProcess | undefined;
  readonly hosts: ChildProcess[] = [];

  static async start(options: RigOptions): Promise<Rig> {
    const names = Object.keys(options.targets);
    const [frontend, stats, primary, agent, agentAdmin, hostAdmin, secondAdmin, ...shadows] = await freePorts(
      7 + names.length,
    );
    const rig = new Rig(options, { frontend, stats, primary, agent, agentAdmin, hostAdmin, secondAdmin, shadows });
    try {
      await rig.#start();
    } catch (error) {
      await rig.stop();
      throw error;
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

  /** What agent, host and HAProxy have written so far. */
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

  async startAgent(): Promise<void> {
    this.agent = this.#spawn(["agent", "--config", this.configFile]);
    await answers(`http://127.0.0.1:${this.#ports.agentAdmin}/readyz`);
  }

  async agentStats(): Promise<AgentStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#ports.agentAdmin}/stats`)).json()) as AgentStats;
  }

  /** What the first agent says on /readyz. */
  async agentReadiness(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.#ports.agentAdmin}/readyz`)).text();
  }

  async hostStats(): Promise<HostStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#ports.hostAdmin}/stats`)).json()) as HostStats;
  }

  /** The ledger's equations, as soon as nothing waits any more. */
  async settledLedger(withinMs = 20_000): Promise<Equation[]> {
    await until(async () => {
      const { pending } = await this.agentStats();
      const { ingress, targets } = await this.hostStats();
      return pending === 0 && ingress.messages === 0 && Object.values(targets).every(({ inQueue }) => inQueue === 0);
    }, withinMs);
    return toEquations(await this.agentStats(), await this.hostStats());
  }

  async stop(): Promise<void> {
    await this.#haproxy?.stop();
    for (const child of [this.agent, ...this.hosts]) {
      if (!child || hasEnded(child)) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await Promise.all([this.primary, ...Object.values(this.shadows)].map((server) => server.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    await Promise.all([this.primary, ...Object.values(this.shadows)].map((server) => server.start()));
    writeFileSync(this.configFile, this.#config(this.#ports.hostAdmin));
    await Promise.all([this.startAgent(), this.startHost()]);
    this.#haproxy = new HaproxyProcess({
      program: findHaproxy(process.env.PATH ?? ""),
      configFile: join(root, "agent/haproxy/haproxy.cfg"),
      variables: {
        RELAY_FRONTEND_PORT: String(this.#ports.frontend),
        RELAY_STATS_PORT: String(this.#ports.stats),
        RELAY_PRIMARY: `127.0.0.1:${this.#ports.primary}`,
        RELAY_AGENT: `127.0.0.1:${this.#ports.agent}`,
        RELAY_LOG_LEVEL: "notice",
        // The machine of a test is slow at times; what is tested here is not the time.
        RELAY_PROCESSING_TIMEOUT: "5s",
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
    child.stdout.on("data", (text: Buffer) => this.#output.push(text.toString()));
    child.stderr.on("data", (text: Buffer) => this.#output.push(text.toString()));
    return child;
  }

  #config(hostAdmin: number): string {
    const targets = Object.entries(this.#options.targets).map(
      ([name, keys], i) => `  ${name}: { url: "http://127.0.0.1:${this.#ports.shadows[i]}", ${keys} }\n`,
    );
    return `agent:
  listen: 127.0.0.1:${this.#ports.agent}
  admin: 127.0.0.1:${this.#ports.agentAdmin}
${this.#options.agent ?? ""}
host:
  admin: 127.0.0.1:${hostAdmin}
${this.#options.host ?? ""}
queue: ${this.#options.queue ?? "embedded:./data"}
targets:
${targets.join("")}`;
  }
}

interface Ports {
  readonly frontend: number;
  readonly stats: number;
  readonly primary: number;
  readonly agent: number;
  readonly agentAdmin: number;
  readonly hostAdmin: number;
  readonly secondAdmin: number;
  readonly shadows: readonly number[];
}

/** Ports on 127.0.0.1 that nobody listens on at the moment. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ports.push((server.address() as { port: number }).port);
  }
  for (const server of servers) {
    server.close();
    await once(server, "close");
  }
  return ports;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function answers(url: string): Promise<void> {
  await until(async () => {
    const response = await fetch(url).catch(() => undefined);
    await response?.body?.cancel();
    return response?.ok === true;
  });
}
