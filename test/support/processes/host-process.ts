import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { readTokenFile } from "../../../relay/control/token-file.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { ingressQueue } from "../../../relay/queue/names.ts";
import { temporaryDirectory } from "../data/temporary-directory.ts";
import { freePorts } from "../servers/free-ports.ts";
import { type CommandResult, spoaRelay } from "./command-line.ts";
import { HostChild } from "./host-child.ts";

export interface HostProcessOptions {
  /** By name: the target's keys in YAML flow style. */
  readonly targets: Readonly<Record<string, string>>;
  /** The keys under `host:` besides `admin`, in YAML flow style. */
  readonly host?: string;
  /** `host.admin`; a free port of 127.0.0.1 by default. `DIRECTORY` is replaced by the host's directory. */
  readonly admin?: string;
}

/** A real host without an agent: tests put packs into its ingress queue. It is killed at the end of the test. */
export class HostProcess {
  readonly directory = temporaryDirectory();
  readonly configFile = join(this.directory, "spoa-relay.yaml");
  /** The same queue file that the host has open. */
  readonly ingress: EmbeddedQueue;
  readonly admin: string;
  #child: HostChild | undefined;

  static async start(options: HostProcessOptions): Promise<HostProcess> {
    const [port] = await freePorts(1);
    const host = new HostProcess(options, port);
    host.#child = await HostChild.start(host.configFile);
    return host;
  }

  private constructor(options: HostProcessOptions, port: number) {
    this.admin = options.admin?.replace("DIRECTORY", this.directory) ?? `127.0.0.1:${port}`;
    this.#configure(options);
    this.ingress = EmbeddedQueue.open({ directory: join(this.directory, "data"), name: ingressQueue });
    onTestFinished(() => this.#stop());
  }

  /** Ends the host and starts it with other targets. */
  async restart(options: HostProcessOptions): Promise<void> {
    this.#child?.end();
    await this.#child?.ended();
    this.#configure(options);
    this.#child = await HostChild.start(this.configFile);
  }

  /** The output of the host so far. */
  get output(): string {
    return this.#child?.output ?? "";
  }

  /** The header with the token that the host has created. */
  get authorization(): string {
    return `Bearer ${readTokenFile(join(this.directory, "data", "control-token"))}`;
  }

  /** Runs a command of the command line with the host's configuration. */
  command(...args: readonly string[]): Promise<CommandResult> {
    return spoaRelay(...args, "--config", this.configFile);
  }

  /** Sends a request to the admin address, which must be a TCP address. */
  async fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`http://${this.admin}${path}`, init);
  }

  #configure({ targets, host = "" }: HostProcessOptions): void {
    const entries = Object.entries(targets).map(([name, keys]) => `  ${name}: { ${keys} }\n`);
    writeFileSync(
      this.configFile,
      `host: { admin: "${this.admin}"${host && `, ${host}`} }\nqueue: embedded:./data\ntargets:\n${entries.join("")}`,
    );
  }

  async #stop(): Promise<void> {
    this.ingress.close();
    this.#child?.kill();
    await this.#child?.ended();
  }
}
