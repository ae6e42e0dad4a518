import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { onTestFinished } from "vitest";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import { type CommandResult, spoaRelay } from "./command-line.ts";
import { freePorts } from "./free-ports.ts";
import { temporaryDirectory } from "./temporary-directory.ts";
import { until } from "./until.ts";

export interface HostProcessOptions {
  /** By name: the keys of the target in YAML flow style. */
  readonly targets: Readonly<Record<string, string>>;
  /** The keys under `host:` in YAML flow style beside `admin`. */
  readonly host?: string;
  /** `host.admin`; a free port of this machine by default. `DIRECTORY` stands for the host's. */
  readonly admin?: string;
}

const main = resolve(import.meta.dirname, "../../relay/main.ts");

/** A real host without an agent: tests put packs into its ingress queue. It ends with the test. */
export class HostProcess {
  readonly directory = temporaryDirectory();
  readonly configFile = join(this.directory, "spoa-relay.yaml");
  /** The same file as the host has open. */
  readonly ingress: EmbeddedQueue;
  readonly admin: string;
  #child: ChildProcess | undefined;
  #output = "";

  static async start(options: HostProcessOptions): Promise<HostProcess> {
    const [port] = await freePorts(1);
    const host = new HostProcess(options, port);
    await host.#start();
    return host;
  }

  private constructor({ targets, host = "", admin }: HostProcessOptions, port: number) {
    this.admin = admin?.replace("DIRECTORY", this.directory) ?? `127.0.0.1:${port}`;
    const entries = Object.entries(targets).map(([name, keys]) => `  ${name}: { ${keys} }\n`);
    writeFileSync(
      this.configFile,
      `host: { admin: "${this.admin}"${host && `, ${host}`} }\nqueue: embedded:./data\ntargets:\n${entries.join("")}`,
    );
    this.ingress = EmbeddedQueue.open({ directory: join(this.directory, "data"), name: ingressQueue });
    onTestFinished(() => this.#stop());
  }

  /** What it has printed. */
  get output(): string {
    return this.#output;
  }

  /** Runs a command of the command line with the host's configuration. */
  command(...args: readonly string[]): Promise<CommandResult> {
    return spoaRelay(...args, "--config", this.configFile);
  }

  /** Asks the admin address, where it is one of TCP. */
  async fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`http://${this.admin}${path}`, init);
  }

  async #start(): Promise<void> {
    const child = spawn(process.execPath, [main, "host", "--config", this.configFile]);
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (this.#output += text));
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the host has ended: ${this.#output}`);
      return this.#output.includes('"event":"replaying"');
    });
  }

  async #stop(): Promise<void> {
    this.ingress.close();
    if (!this.#child || this.#child.exitCode !== null) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}
