import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { faketimeVariables } from "../clocks/faketime.ts";
import { type EmbeddedMetrics, isEmbeddedMetrics } from "../data/metric-lines.ts";

type Reply = "ready" | { readonly answer?: unknown; readonly error?: string };

const runtime = fileURLToPath(new URL("lambda-runtime.ts", import.meta.url));

/** A function as Lambda runs it: its bundle in a process of its own, one event at a time, killed at its timeout. */
export class LambdaProcess {
  /** The function's log lines, without metrics. */
  readonly logs: Record<string, unknown>[] = [];
  readonly metrics: EmbeddedMetrics[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #errors = "";

  /** Resolves when the handler is loaded; rejects with the output of the process if it ends before. */
  static async start(bundle: string, env: Readonly<Record<string, string>>): Promise<LambdaProcess> {
    const lambda = new LambdaProcess(bundle, env);
    await lambda.#reply();
    return lambda;
  }

  private constructor(bundle: string, env: Readonly<Record<string, string>>) {
    // Without the environment of the tests, except their clock: in Lambda a function has only its own variables.
    this.#child = fork(runtime, [bundle], {
      env: { ...faketimeVariables, ...env },
      execArgv: [],
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#exited = once(this.#child, "exit");
    let rest = "";
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines.map((text) => JSON.parse(text))) {
        if (isEmbeddedMetrics(line)) this.metrics.push(line);
        else this.logs.push(line);
      }
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Rejects if the handler rejects or the process ends before it answers, which happens after `timeoutMs` at the latest. */
  async invoke(event: unknown, timeoutMs: number): Promise<unknown> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), timeoutMs);
    try {
      const reply = this.#reply();
      this.#child.send({ event, timeoutMs });
      return await reply;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Stops the process, as Lambda does between invocations: none of its code runs until `thaw`. */
  async freeze(): Promise<void> {
    this.#child.kill("SIGSTOP");
    const stat = `/proc/${this.#child.pid}/stat`;
    while (!/\) T /.test(readFileSync(stat, "utf8"))) await new Promise(setImmediate);
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  /** Sends SIGKILL: the process cannot finish anything. */
  async kill(): Promise<void> {
    if (!this.ended) this.#child.kill("SIGKILL");
    await this.#exited;
  }

  async #reply(): Promise<unknown> {
    const over = new AbortController();
    const exited = this.#exited.then(() => {
      throw new Error(`the process has ended${this.#errors && `: ${this.#errors}`}`);
    });
    try {
      const [reply] = (await Promise.race([once(this.#child, "message", { signal: over.signal }), exited])) as [Reply];
      if (reply === "ready") return undefined;
      if (reply.error !== undefined) throw new Error(reply.error);
      return reply.answer;
    } finally {
      over.abort();
      exited.catch(() => {});
    }
  }
}
