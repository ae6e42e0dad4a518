import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  createWriteStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  type WriteStream,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { forceRequest } from "../process/stop-signals.ts";
import type { AgentStats } from "../stats/agent-stats.ts";
import type { HostStats } from "../stats/host-stats.ts";
import { type Equation, toEquations } from "../stats/ledger-equations.ts";
import { type LoggedRequest, parseAccessLog } from "./access-log.ts";
import { findHaproxy, HaproxyProcess } from "./haproxy-process.ts";
import { JsonServer } from "./json-server.ts";
import type { DemoPorts } from "./ports.ts";

/** Rate of the paced target of the demo, in requests per second. */
export const pacedRate = 50;

export interface StageOptions {
  readonly ports: DemoPorts;
  /** Directory of HAProxy's example configuration. */
  readonly haproxyDirectory: string;
  readonly searchPath: string;
}

/**
 * Everything that the demo runs: primary, two shadows, spoa-relay and HAProxy. HAProxy and spoa-relay run as in production;
 * primary and shadows run in this process.
 */
export class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), "spoa-relay-demo-"));
  readonly primary: JsonServer;
  readonly shadow: JsonServer;
  readonly paced: JsonServer;
  readonly #options: StageOptions;
  readonly #logs: WriteStream[] = [];
  #relay: ChildProcess | undefined;
  #haproxy: HaproxyProcess | undefined;
  #stopping = false;

  constructor(options: StageOptions) {
    this.#options = options;
    const { ports } = options;
    this.primary = new JsonServer("primary", ports.primary, this.#logTo("primary.log"));
    this.shadow = new JsonServer("shadow", ports.shadow, this.#logTo("shadow.log"));
    this.paced = new JsonServer("paced", ports.paced, this.#logTo("paced.log"));
  }

  get frontend(): string {
    return `http://127.0.0.1:${this.#options.ports.frontend}`;
  }

  get configFile(): string {
    return join(this.directory, "spoa-relay.yaml");
  }

  get #haproxyLog(): string {
    return join(this.directory, "haproxy.log");
  }

  /** Starts all parts, HAProxy last so that no request is missed. Throws an error that says which part did not start. */
  async start(): Promise<void> {
    const { ports, haproxyDirectory, searchPath } = this.#options;
    const program = findHaproxy(searchPath);
    await Promise.all([this.primary.start(), this.shadow.start(), this.paced.start()]);
    writeFileSync(this.configFile, configText(ports));
    const relay = spawn(process.execPath, [process.argv[1], "up", "--config", this.configFile], {
      // In a process group of its own: Ctrl+C reaches only this process, which stops the others in order. If this process
      // dies, the IPC channel closes, and spoa-relay stops.
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    const log = this.#logTo("spoa-relay.log");
    relay.stdout?.on("data", (text: Buffer) => log(text.toString().trimEnd()));
    relay.stderr?.on("data", (text: Buffer) => log(text.toString().trimEnd()));
    this.#relay = relay;
    await this.#ready(`http://127.0.0.1:${ports.agentAdmin}/readyz`);
    await this.#ready(`http://127.0.0.1:${ports.hostAdmin}/healthz`);
    this.#haproxy = new HaproxyProcess({
      program,
      configFile: join(haproxyDirectory, "haproxy.cfg"),
      variables: {
        RELAY_FRONTEND_PORT: String(ports.frontend),
        RELAY_STATS_PORT: String(ports.stats),
        RELAY_PRIMARY: `127.0.0.1:${ports.primary}`,
        RELAY_AGENT: `127.0.0.1:${ports.agent}`,
        // HAProxy, its clients, servers and spoa-relay share this machine: a burst over new connections takes longer than
        // the 50 and 200 ms of the example, after which HAProxy leaves requests out, and bodies may arrive late.
        RELAY_PROCESSING_TIMEOUT: "5s",
        RELAY_BODY_WAIT: "5s",
        RELAY_CONNECT_TIMEOUT: "5s",
      },
      outputFile: this.#haproxyLog,
    });
    await this.#ready(`${this.frontend}/api/v3/ready`);
  }

  /** Sends a request through HAProxy. Throws an error that says why there is no answer. */
  send(path: string, init?: RequestInit): Promise<Response> {
    return this.#fetch(`${this.frontend}${path}`, init);
  }

  /** The requests in HAProxy's log so far whose path begins with `prefix`. */
  logged(prefix: string): LoggedRequest[] {
    return parseAccessLog(readFileSync(this.#haproxyLog, "utf8")).filter(({ path }) => path.startsWith(prefix));
  }

  /** The ledger once no request is pending or waiting, at the latest after `withinMs`. */
  async ledger(withinMs: number): Promise<Equation[]> {
    const { ports } = this.#options;
    const untilMs = performance.now() + withinMs;
    for (;;) {
      const agent = await this.#getJson<AgentStats>(`http://127.0.0.1:${ports.agentAdmin}/stats`);
      const host = await this.#getJson<HostStats>(`http://127.0.0.1:${ports.hostAdmin}/stats`);
      const waiting = Object.values(host.targets).reduce(
        (total, { messages = 0 }) => total + messages,
        host.ingress.messages ?? 0,
      );
      if ((waiting === 0 && agent.pending === 0) || performance.now() > untilMs) return toEquations(agent, host);
      await sleep(50);
    }
  }

  /** Stops all parts, HAProxy first so that no request is lost, and removes the directory. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#haproxy?.stop();
    const relay = this.#relay;
    if (relay && isRunning(relay)) {
      relay.kill("SIGTERM");
      await once(relay, "exit");
    }
    await Promise.all([this.primary.stop(), this.shadow.stop(), this.paced.stop()]);
    for (const log of this.#logs) log.end();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Ends the other processes without order, while `stop` waits for them. */
  endNow(): void {
    const relay = this.#relay;
    this.#haproxy?.kill();
    // It may be exiting: then there is nobody to ask.
    if (relay && isRunning(relay)) relay.send(forceRequest, () => {});
  }

  /** Ends what would outlive this process, and removes the directory; for a process that cannot wait. */
  abandon(): void {
    this.#haproxy?.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #ready(url: string): Promise<void> {
    for (const untilMs = performance.now() + 30_000; ; await sleep(50)) {
      const response = await fetch(url).catch(() => undefined);
      await response?.body?.cancel();
      if (this.#stopping) throw new Error("the demo is stopping");
      if (response?.ok) return;
      const exited = this.#relay?.exitCode;
      if (performance.now() > untilMs || (exited !== null && exited !== undefined)) {
        throw new Error(`${url} does not answer${this.#lastLines("spoa-relay.log")}${this.#lastLines("haproxy.log")}`);
      }
    }
  }

  async #fetch(url: string, init?: RequestInit): Promise<Response> {
    try {
      return await fetch(url, init);
    } catch (error) {
      const { message, cause } = error as Error & { readonly cause?: Error };
      const logs = `${this.#lastLines("spoa-relay.log")}${this.#lastLines("haproxy.log")}`;
      throw new Error(`${url} does not answer: ${cause?.message || message}${logs}`, { cause: error });
    }
  }

  async #getJson<T>(url: string): Promise<T> {
    return (await (await this.#fetch(url)).json()) as T;
  }

  /** The end of a log, for errors: `stop` removes the directory. */
  #lastLines(file: string): string {
    const path = join(this.directory, file);
    const lines = existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n").slice(-5) : [];
    return lines.map((line) => `\n${file}: ${line}`).join("");
  }

  #logTo(file: string): (line: string) => void {
    const log = createWriteStream(join(this.directory, file), { flags: "a" });
    this.#logs.push(log);
    return (line) => log.write(`${line.trimEnd()}\n`);
  }
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

function configText(ports: DemoPorts): string {
  return `agent:
  listen: 127.0.0.1:${ports.agent}
  admin: 127.0.0.1:${ports.agentAdmin}
  drain: 500ms
host:
  admin: 127.0.0.1:${ports.hostAdmin}
queue: embedded:./data
targets:
  shadow:
    url: http://127.0.0.1:${ports.shadow}
    rate: unlimited
    when: { path: ^(?!/api/v1/burst)/api/ }
  paced:
    url: http://127.0.0.1:${ports.paced}
    rate: ${pacedRate}/s
    when: { path: ^/api/v1/burst }
`;
}
