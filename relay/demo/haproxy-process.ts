import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, closeSync, constants, openSync } from "node:fs";
import { delimiter, join } from "node:path";

export interface HaproxyOptions {
  /** The program; see `findHaproxy`. */
  readonly program: string;
  readonly configFile: string;
  /** Runs a master process and a worker, like a service, so that HAProxy can be reloaded. */
  readonly master?: boolean;
  /** Variables of the example configuration. */
  readonly variables: Readonly<Record<string, string>>;
  /** Receives HAProxy's output, unless there is an `outputFile`. HAProxy drops lines that are not read at once. */
  readonly onOutput?: (text: string) => void;
  /** HAProxy appends to this file itself, and drops nothing. */
  readonly outputFile?: string;
}

// Waits for the end of its input, which ends with this process, and then ends HAProxy.
const guardScript = 'read -r _; kill "$0"';

/** HAProxy in a process of its own. It ends if this process dies, even by SIGKILL. */
export class HaproxyProcess {
  readonly #child: ChildProcess;
  readonly #guard: ChildProcess | undefined;
  readonly #exited: Promise<unknown>;

  constructor({ program, configFile, master, variables, onOutput, outputFile }: HaproxyOptions) {
    const output = outputFile === undefined ? "pipe" : openSync(outputFile, "a");
    this.#child = spawn(program, [...(master ? ["-W"] : []), "-db", "-f", configFile], {
      env: { PATH: "", ...variables },
      stdio: ["ignore", output, output],
    });
    if (typeof output === "number") closeSync(output);
    const { pid } = this.#child;
    if (pid !== undefined) {
      // Detached: Ctrl+C must not end the guard before HAProxy.
      this.#guard = spawn("/bin/sh", ["-c", guardScript, `${pid}`], {
        stdio: ["pipe", "ignore", "ignore"],
        detached: true,
      });
      // Without a shell, HAProxy ends with this process only if it ends in order.
      this.#guard.on("error", () => {});
    }
    this.#exited = once(this.#child, "exit").finally(() => this.#guard?.kill("SIGKILL"));
    this.#child.stdout?.on("data", (text: Buffer) => onOutput?.(text.toString()));
    this.#child.stderr?.on("data", (text: Buffer) => onOutput?.(text.toString()));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Starts a new worker, which takes over the listeners of the old one. Needs `master`. */
  reload(): void {
    this.#child.kill("SIGUSR2");
  }

  /** Ends HAProxy without waiting. */
  kill(): void {
    this.#child.kill("SIGTERM");
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGTERM");
    await this.#exited;
  }
}

/** The path of HAProxy. Throws an error that says how to install it. */
export function findHaproxy(searchPath: string): string {
  for (const directory of [...searchPath.split(delimiter), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"]) {
    const program = join(directory, "haproxy");
    try {
      accessSync(program, constants.X_OK);
      return program;
    } catch {
      // HAProxy is not in this directory.
    }
  }
  throw new Error("HAProxy is not installed: apt-get install haproxy (or: brew install haproxy)");
}
