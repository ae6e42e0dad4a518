import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../support/servers/free-ports.ts";

/** Where an attack takes place: a directory, free ports, and processes of the attacked tree. All of them end with it. */
export class Ground {
  readonly directory = mkdtempSync(join(tmpdir(), "spoa-relay-attack-"));
  /** The checkout whose programs are attacked. */
  readonly tree: string;
  readonly #processes: AttackedProcess[] = [];
  #ended = false;

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

  /** Starts another program, such as `haproxy`. Throws if the attack is over. */
  own(program: string, args: readonly string[], options: SpawnOptions = {}): AttackedProcess {
    if (this.#ended) throw new Error("the attack is over");
    // A group of its own: it ends together with its children, and Ctrl+C does not reach it before the attack is over.
    const child = spawn(program, args, { ...options, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const attacked = new AttackedProcess(child);
    this.#processes.push(attacked);
    return attacked;
  }

  /** Kills all processes, with their children, and removes the directory. A second call does nothing. */
  async end(): Promise<void> {
    this.#ended = true;
    await Promise.all(this.#processes.splice(0).map((attacked) => attacked.kill()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const sampleMs = 100;
// More than any attack reads, and little beside the memory that is measured elsewhere.
const maxOutputChars = 8_000_000;
const startMs = 30_000;

export class AttackedProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #sampler: NodeJS.Timeout;
  #output = "";
  #peakKiB = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, "exit").catch((error: Error) => {
      this.#output += `cannot be started: ${error.message}\n`;
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output = (this.#output + text).slice(-maxOutputChars);
      });
    }
    this.#sampler = setInterval(() => this.#sample(), sampleMs);
    void this.#exited.then(() => clearInterval(this.#sampler));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The last eight million characters of both outputs. */
  get output(): string {
    return this.#output;
  }

  get ended(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The exit code; null if it runs or was killed. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** The largest resident memory so far, as the kernel has noted it. */
  get peakMiB(): number {
    this.#sample();
    return Math.round(this.#peakKiB / 1024);
  }

  /** Waits for a text in the output, such as `"event":"listening"`. Throws, with the end of the output, if it does not come. */
  async printed(text: string, withinMs = startMs): Promise<void> {
    for (const endMs = performance.now() + withinMs; !this.#output.includes(text); await sleep(20)) {
      if (!this.ended && performance.now() < endMs) continue;
      throw new Error(
        `${this.ended ? "ended" : `ran for ${withinMs} ms`} without ${text}: ${this.#output.slice(-500)}`,
      );
    }
  }

  terminate(): void {
    this.#child.kill("SIGTERM");
  }

  async exited(): Promise<void> {
    if (!this.ended) await this.#exited;
  }

  async kill(): Promise<void> {
    try {
      if (this.pid > 0) process.kill(-this.pid, "SIGKILL");
    } catch {
      // The whole group has ended.
    }
    await this.exited();
  }

  #sample(): void {
    try {
      const peak = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"));
      this.#peakKiB = Math.max(this.#peakKiB, Number(peak?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }
}
