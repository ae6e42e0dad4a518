import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { onTestFinished } from "vitest";
import { until } from "../clocks/until.ts";
import { mainFile } from "./command-line.ts";

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A command of spoa-relay that runs until it is stopped, and its output so far. */
export class ServiceProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  #output = "";

  constructor(args: readonly string[], options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {}) {
    this.child = spawn(process.execPath, [mainFile, ...args], { ...options, stdio: ["ignore", "pipe", "pipe"] });
    this.exited = once(this.child, "exit").then(([code, signal]) => ({ code, signal }) as Exit);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
      });
    }
    onTestFinished(async () => {
      this.child.kill("SIGTERM");
      await this.exited;
    });
  }

  get output(): string {
    return this.#output;
  }

  /** The lines of the log so far. */
  get log(): readonly Record<string, unknown>[] {
    const lines = this.#output.split("\n").slice(0, -1);
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  /** Waits until the log has these events. The error has the output. */
  async logged(...events: readonly string[]): Promise<void> {
    const logged = () => events.every((event) => this.log.some((line) => line.event === event));
    await until(logged, 60_000).catch((cause: Error) => {
      throw new Error(`no ${events.join(", ")} in the log:\n${this.#output}`, { cause });
    });
  }
}

/** Process ids of the processes whose command line contains `text`, apart from this one. */
export function processesWith(text: string): readonly number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.map(Number).filter((pid) => {
    try {
      // A process that has ended and was not waited for has an empty command line.
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
    } catch {
      return false;
    }
  });
}
