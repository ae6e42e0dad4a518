import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import { AggregatorRegistry } from "prom-client";
import type { AgentStats } from "../relay/agent-stats.ts";
import type { Config } from "../relay/config.ts";
import type { Logger } from "../relay/log.ts";
import { agentNodeFlags, type Service, stopRequest } from "../relay/service.ts";
import { serveAdmin } from "./admin.ts";
import { removeStaleSocket } from "./listener.ts";
import { addStats } from "./stats.ts";
import { askWorker, type WorkerReport, workerEnv } from "./worker-channel.ts";

const restartMs = 1_000;
const answerMs = 1_000;
// How old the figures of a worker may be that died without a word.
const snapshotMs = 1_000;

/**
 * Runs the agent in several processes on one address. Each is an agent of its own, with its own packs and its own run in the
 * ledger; this one accepts for them, adds up their figures and starts again who dies. Rejects where a worker cannot start.
 */
export async function startWorkers(config: Config, log: Logger): Promise<Service> {
  const pool = new WorkerPool(config, log);
  const admin = await serveAdmin(config.agent.admin, {
    stats: () => pool.stats(),
    metrics: new AggregatorRegistry(),
    unready: () => pool.unready(),
  });
  const { listen } = config.agent;
  try {
    if (listen.kind === "unix") await removeStaleSocket(listen.path);
    await pool.start();
  } catch (error) {
    admin.close();
    throw error;
  }
  return {
    async stop() {
      const givenUp = await pool.stop();
      admin.close();
      return givenUp;
    },
    get pending() {
      return pool.pending;
    },
  };
}

class WorkerPool {
  readonly #config: Config;
  readonly #log: Logger;
  /** With their numbers, which successors take over, and with it the journal. */
  readonly #workers = new Map<Worker, number>();
  readonly #reports = new Map<Worker, WorkerReport>();
  readonly #since = new Date().toISOString();
  /** Of workers that are no more. */
  readonly #past: AgentStats[] = [];
  #stopping = false;
  #snapshotTimer: NodeJS.Timeout | undefined;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
  }

  get pending(): number {
    return [...this.#reports.values()].reduce((sum, { stats }) => sum + stats.pending, 0);
  }

  async start(): Promise<void> {
    // The workers run the very command that started this process.
    const execArgv = [...process.execArgv, ...agentNodeFlags];
    cluster.setupPrimary({ args: process.argv.slice(2), execArgv });
    const first = Array.from({ length: this.#config.agent.workers }, (_, i) => this.#fork(i + 1));
    await Promise.all(first.map((worker) => started(worker)));
    this.#snapshotTimer = setInterval(() => this.#ask(), snapshotMs);
    process.on("SIGHUP", this.#forwardHangup);
  }

  async stats(): Promise<AgentStats> {
    await this.#ask();
    const { name } = this.#config.agent;
    const all = [...this.#past, ...[...this.#reports.values()].map(({ stats }) => stats)];
    return addStats(name, this.#since, all);
  }

  async unready(): Promise<string[]> {
    await this.#ask();
    const missing = this.#config.agent.workers - this.#reports.size;
    const reasons = [...this.#reports].flatMap(([worker, { unready }]) =>
      unready.map((why) => `worker ${this.#workers.get(worker)}: ${why}`),
    );
    return [
      ...(this.#stopping ? ["draining"] : []),
      ...(missing > 0 ? [`${missing} of the workers do not answer`] : []),
      ...reasons,
    ];
  }

  async stop(): Promise<number> {
    this.#stopping = true;
    clearInterval(this.#snapshotTimer);
    process.off("SIGHUP", this.#forwardHangup);
    const codes = await Promise.all(
      [...this.#workers.keys()].map(async (worker) => {
        const exit = once(worker, "exit") as Promise<[number]>;
        worker.send(stopRequest, () => {});
        return (await exit)[0];
      }),
    );
    // A worker that gives requests up has said how many, and ends with 1.
    return codes.filter((code) => code !== 0).length;
  }

  #fork(slot: number): Worker {
    const worker = cluster.fork(workerEnv(slot));
    this.#workers.set(worker, slot);
    worker.once("exit", (code, signal) => this.#exited(worker, slot, code ?? signal));
    return worker;
  }

  #exited(worker: Worker, slot: number, reason: number | string): void {
    this.#workers.delete(worker);
    const last = this.#reports.get(worker);
    this.#reports.delete(worker);
    if (last) this.#past.push(asDead(last.stats, this.#config.agent.journal !== undefined));
    if (this.#stopping) return;
    this.#log.error({ event: "worker-ended", worker: slot, reason }, "a worker ended by itself");
    setTimeout(() => {
      if (!this.#stopping) this.#fork(slot);
    }, restartMs).unref();
  }

  async #ask(): Promise<void> {
    await Promise.all(
      [...this.#workers.keys()].map(async (worker) => {
        const report = await askWorker(worker, answerMs);
        if (report && this.#workers.has(worker)) this.#reports.set(worker, report);
      }),
    );
  }

  readonly #forwardHangup = (): void => {
    for (const { process: child } of this.#workers.keys()) child.kill("SIGHUP");
  };
}

async function started(worker: Worker): Promise<void> {
  const failed = new AbortController();
  const { signal } = failed;
  worker.once("exit", () => failed.abort(new Error("a worker of the agent could not start")));
  await once(worker, "listening", { signal }).catch(() => {
    throw signal.reason;
  });
}

/** The figures of a worker that died: what it had not sent is lost, unless the journal has it for its successor. */
function asDead(stats: AgentStats, journaled: boolean): AgentStats {
  const { pending, dropped } = stats;
  const none = { connections: 0, waitingBytes: 0 };
  if (journaled || pending === 0) return { ...stats, ...none };
  const lost = (dropped["worker died"] ?? 0) + pending;
  return { ...stats, ...none, pending: 0, dropped: { ...dropped, "worker died": lost } };
}
