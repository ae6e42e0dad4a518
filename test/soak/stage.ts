import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseSummary } from "../../relay/pack/summary.ts";
import { agentNodeFlags } from "../../relay/process/service.ts";
import { openSqsQueue } from "../../relay/queue/sqs.ts";
import type { AgentStats } from "../../relay/stats/agent-stats.ts";
import type { HostStats } from "../../relay/stats/host-stats.ts";
import type { AwsEmulator } from "../support/aws/aws-emulator.ts";
import { until } from "../support/clocks/until.ts";
import { ChildScript } from "../support/processes/child-script.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import type { ShadowReport } from "./moody-shadow.ts";
import type { Mood } from "./timetable.ts";

export const targets = ["steady", "moody"] as const;

export type TargetName = (typeof targets)[number];

const hosts = 2;
const startsWithinMs = 60_000;
const root = resolve(import.meta.dirname, "../..");

interface Ports {
  readonly agent: number;
  readonly agentAdmin: number;
  readonly hostAdmins: readonly number[];
}

/** Emulators, shadows, an agent and two hosts, each in a process of its own. */
export class Stage {
  readonly agentPort: number;
  readonly #ports: Ports;
  readonly #directory: string;
  readonly #emulator: ChildScript;
  readonly #shadows: Readonly<Record<TargetName, ChildScript>>;
  readonly #children = new Map<string, ChildProcess>();
  readonly #queueUrl: string;

  /** @param requests the largest number of requests */
  static async start(requests: number): Promise<Stage> {
    const [agent, agentAdmin, ...hostAdmins] = await freePorts(2 + hosts);
    const queues = ["ingress", ...targets.map((name) => `ingress-${name}`)];
    const emulator = new ChildScript("../aws/aws-emulator.ts", queues);
    const startShadow = () => new ChildScript("../../soak/moody-shadow.ts", [String(requests)]);
    const shadows = { steady: startShadow(), moody: startShadow() };
    await Promise.all([emulator, ...Object.values(shadows)].map((script) => script.printed(1)));
    const stage = new Stage({ agent, agentAdmin, hostAdmins }, emulator, shadows);
    try {
      await stage.#start();
    } catch (error) {
      await stage.stop();
      throw error;
    }
    return stage;
  }

  private constructor(ports: Ports, emulator: ChildScript, shadows: Readonly<Record<TargetName, ChildScript>>) {
    this.agentPort = ports.agent;
    this.#ports = ports;
    this.#directory = mkdtempSync(join(tmpdir(), "spoa-relay-soak-"));
    this.#emulator = emulator;
    this.#shadows = shadows;
    this.#queueUrl = `http://127.0.0.1:${this.#aws.sqsPort}/000000000000/ingress`;
  }

  /** The process ids of agent and hosts, by name. */
  get pids(): ReadonlyMap<string, number> {
    return new Map(Array.from(this.#children, ([name, { pid }]) => [name, Number(pid)]));
  }

  setMood(mood: Mood): void {
    this.#shadows.moody.process.stdin?.write(`${mood}\n`);
  }

  async agentStats(): Promise<AgentStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#ports.agentAdmin}/stats`)).json()) as AgentStats;
  }

  async hostStats(): Promise<HostStats> {
    return (await (await fetch(`http://127.0.0.1:${this.#ports.hostAdmins[0]}/stats`)).json()) as HostStats;
  }

  async shadowReport(name: TargetName): Promise<ShadowReport> {
    const shadow = this.#shadows[name];
    const printed = shadow.lines.length;
    shadow.process.stdin?.write("report\n");
    await shadow.printed(printed + 1);
    return JSON.parse(shadow.lines[printed]) as ShadowReport;
  }

  /** The number of requests in a target's dead-letter queue. Works only once: it receives the messages. */
  async countDeadRequests(name: TargetName): Promise<number> {
    const { deadLetters, close } = openSqsQueue(`${this.#queueUrl}-${name}`);
    let requests = 0;
    for (;;) {
      const signal = new AbortController().signal;
      const letters = await deadLetters.receive({ max: 10, waitMs: 1_000, visibilityMs: 600_000, signal });
      if (letters.length === 0) break;
      for (const { body } of letters) requests += parseSummary(body)?.count ?? 0;
    }
    close();
    return requests;
  }

  async stop(): Promise<void> {
    for (const child of this.#children.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    for (const script of [this.#emulator, ...Object.values(this.#shadows)]) await script.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #aws(): AwsEmulator {
    return JSON.parse(this.#emulator.lines[0]) as AwsEmulator;
  }

  async #start(): Promise<void> {
    this.#spawn("agent", [...agentNodeFlags, join(root, "agent/main.ts")], this.#ports.hostAdmins[0]);
    this.#ports.hostAdmins.forEach((admin, i) => {
      this.#spawn(`host ${i + 1}`, [join(root, "relay/main.ts"), "host"], admin);
    });
    for (const admin of [this.#ports.agentAdmin, ...this.#ports.hostAdmins]) {
      const url = `http://127.0.0.1:${admin}/healthz`;
      await until(async () => (await fetch(url).catch(() => undefined))?.ok === true, startsWithinMs);
    }
  }

  #spawn(name: string, args: readonly string[], hostAdmin: number): void {
    const config = join(this.#directory, `${name.replace(" ", "-")}.yaml`);
    writeFileSync(config, this.#config(hostAdmin));
    const { dynamoDbEndpoint, region } = this.#aws;
    const child = spawn(process.execPath, [...args, "--config", config], {
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        ...process.env,
        MALLOC_ARENA_MAX: "2",
        AWS_REGION: region,
        AWS_ENDPOINT_URL_DYNAMODB: dynamoDbEndpoint,
      },
    });
    this.#children.set(name, child);
  }

  #config(hostAdmin: number): string {
    const { agent, agentAdmin } = this.#ports;
    const urlOf = (name: TargetName) => `http://127.0.0.1:${this.#shadows[name].lines[0]}`;
    return `agent: { listen: "127.0.0.1:${agent}", admin: "127.0.0.1:${agentAdmin}" }
host: { admin: "127.0.0.1:${hostAdmin}" }
queue: ${this.#queueUrl}
state: dynamodb:${this.#aws.table}
targets:
  steady: { url: "${urlOf("steady")}", rate: unlimited, timeout: 5s }
  moody: { url: "${urlOf("moody")}", rate: 4000/s, timeout: 1s }
log: error
`;
  }
}
