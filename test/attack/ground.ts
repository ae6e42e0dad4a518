import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../support/servers/free-ports.ts";

/** Where an attack takes place: a directory, free ports, and processes of the attacked tree. All of them end with it. */
export class Ground {
  readonly directory = mkdtempSync(join(tmpdir(), "spoa-relay-attack-"));
  /** The checkout whose programs are attacked. */
  readonly tree: string;
  readonly #processes: AttackedProcess[] = [];

  constructor(tree: string) {
    this.tree = tree;
  }

  ports(count: number): Promise<number[]> {
    return freePorts(count);
  }

  /** Starts a command of spoa-relay, such as `["agent", "--config", file]`, in the directory of the attack. */
  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): AttackedProcess {
    const program = [join(this.tree, "relay/main.ts"), ...args];
    return this.own(process.execPath, program, { cwd: this.directory, env: { ...process.env, ...env } });
  }

  /** Starts another program, such as `haproxy`. */
  own(program: string, args: readonly string[], options: SpawnOptions = {}): AttackedProcess {
    const attacked = new AttackedProcess(spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] }));
    this.#processes.push(attacked);
    return attacked;
  }

  async end(): Promise<void> {
    await Promise.all(this.#processes.map((attacked) => attacked.kill()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const sampleMs = 100;

export class AttackedProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #sampler: NodeJS.Timeout;
  #output = "";
  #peakKiB = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, "exit").catch(() => {});
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
      });
    }
    this.#sampler = setInterval(() => this.#sample(), sampleMs);
    void this.#exited.then(() => clearInterval(this.#sampler));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get output(): string {
    return this.#output;
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The exit code; null if it runs or was killed. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** The largest resident memory so far, looked at ten times a second. */
  get peakMiB(): number {
    this.#sample();
    return Math.round(this.#peakKiB / 1024);
  }

  terminate(): void {
    this.#child.kill("SIGTERM");
  }

  async exited(): Promise<void> {
    if (!this.ended) await this.#exited;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited();
  }

  #sample(): void {
    try {
      const resident = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"));
      this.#peakKiB = Math.max(this.#peakKiB, Number(resident?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }
}
