import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** Runs a script in a process of its own. */
export class ChildScript {
  readonly process: ChildProcess;
  readonly #exited: Promise<unknown>;
  #output = "";

  /**
   * @param script its path, relative to this directory
   * @param maxFileBlocks the largest size of a file that it writes, in blocks of 1 KiB: simulates a full disk
   * @param launcher a program and its arguments that start the script, such as those of `container`
   */
  constructor(script: string, args: readonly string[], maxFileBlocks?: number, launcher: readonly string[] = []) {
    const command = [...launcher, process.execPath, fileURLToPath(new URL(script, import.meta.url)), ...args];
    const limited = ["bash", "-c", `ulimit -f ${maxFileBlocks}; exec "$@"`, "bash", ...command];
    const [file, ...rest] = maxFileBlocks === undefined ? command : limited;
    this.process = spawn(file, rest, { stdio: ["pipe", "pipe", "inherit"] });
    this.#exited = once(this.process, "close");
    this.process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
  }

  /** Whole lines printed so far. */
  get lines(): readonly string[] {
    return this.#output.split("\n").slice(0, -1);
  }

  /** Resolves when the child has printed at least `lines` lines, or has ended. */
  async printed(lines: number): Promise<void> {
    while (this.lines.length < lines && this.process.exitCode === null && this.process.stdout?.readable) {
      await Promise.race([once(this.process.stdout, "data"), this.#exited]);
    }
  }

  start(): void {
    this.process.stdin?.write("go\n");
  }

  async exited(): Promise<void> {
    await this.#exited;
  }

  /** Sends SIGKILL and waits for the end: the process cannot finish anything. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.#exited;
  }
}
