import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { until } from "../clocks/until.ts";

// On a busy machine it takes half a minute to load the AWS SDK.
const startMs = 90_000;
const main = resolve(import.meta.dirname, "../../../relay/main.ts");

/** `spoa-relay host` in a process of its own. The caller must end it. */
export class HostChild {
  readonly #child: ChildProcess;
  #output = "";

  /** Resolves when the host replays; rejects with its output if it ends before. */
  static async start(configFile: string): Promise<HostChild> {
    const host = new HostChild(configFile);
    try {
      await until(() => {
        if (host.#hasEnded) throw new Error(`the host has ended: ${host.output}`);
        return host.output.includes('"event":"replaying"');
      }, startMs);
    } catch (error) {
      host.kill();
      throw error;
    }
    return host;
  }

  private constructor(configFile: string) {
    this.#child = spawn(process.execPath, [main, "host", "--config", configFile]);
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on("data", (text) => (this.#output += text));
  }

  /** The output of the process so far. */
  get output(): string {
    return this.#output;
  }

  /** Sends SIGKILL, as if the machine had crashed. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Sends SIGTERM: the host hands back what is in flight, and ends. */
  end(): void {
    this.#child.kill("SIGTERM");
  }

  async ended(): Promise<void> {
    if (!this.#hasEnded) await once(this.#child, "exit");
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}
