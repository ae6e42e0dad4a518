import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import { AggregatorRegistry, type PrometheusContentType } from "prom-client";
import type { Config } from "../relay/config/config.ts";
import type { Logger } from "../relay/log/log.ts";
import { Outage } from "../relay/log/outage.ts";
import { agentNodeFlags, type Service } from "../relay/process/service.ts";
import { stopRequest } from "../relay/process/stop-signals.ts";
import type { AgentStats } from "../relay/stats/agent-stats.ts";
import { serveAdmin } from "./admin.ts";
import { removeStaleSocket } from "./listener/listener.ts";
import { addStats, asDead } from "./stats.ts";
import { askWorker, onFarewell, type WorkerReport, workerEnv } from "./worker-channel.ts";

const restartMs = 1_000;
const answerMs = 1_000;
// How old the figures of a worker that died without a final report may be.
const snapshotMs = 1_000;

/**
 * Runs the agent in several processes on one address. Each worker is a complete agent, with its own packs and its own run in
 * the ledger. This process accepts connections for the workers, adds up their figures and restarts workers that die. Rejects
 * if a worker cannot start.
 */
export async function startWorkers(config: Config, log: Logger): Promise<Service> {
  const pool = new WorkerPool(config, log);
  const admin = await serveAdmin(config.agent.admin, {
    stats: () => pool.stats(),
    metrics: new PoolRegistry(() => pool.lost),
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
  /** The slot of each worker, from 1. A worker's successor takes over its slot, and with it the journal. */
  readonly #workers = new Map<Worker, number>();
  readonly #outages = new Map<number, Outage>();
  readonly #reports = new Map<Worker, WorkerReport>();
  readonly #since = new Date().toISOString();
  /** The figures of all workers that have ended. */
  #past: AgentStats | undefined;
  /** The final reports of workers that stopped in order. */
  readonly #farewells = new Map<Worker, { readonly stats: AgentStats; readonly givenUp: number }>();
  #stopping = false;
  #snapshotTimer: NodeJS.Timeout | undefined;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
  }

  get pending(): number {
    return [...this.#reports.values()].reduce((sum, { stats }) => sum + stats.pending, 0);
  }

  /** Requests that were lost with workers that died. */
  get lost(): number {
    return this.#past?.dropped["worker died"] ?? 0;
  }

  async start(): Promise<void> {
    // The workers run the same command as this process.
    const execArgv = [...process.execArgv, ...agentNodeFlags];
    cluster.setupPrimary({ args: process.argv.slice(2), execArgv });
    const first = Array.from({ length: this.#config.agent.workers }, (_, i) => this.#fork(i + 1));
    await Promise.all(first.map((worker) => started(worker)));
    this.#snapshotTimer = setInterval(() => this.#ask(), snapshotMs);
    process.on("SIGHUP", this.#hangUp);
  }

  async stats(): Promise<AgentStats> {
    await this.#ask();
    const { name } = this.#config.agent;
    const running = [...this.#reports.values()].map(({ stats }) => stats);
    return addStats(name, this.#since, this.#past ? [this.#past, ...running] : running);
  }

  async unready(): Promise<string[]> {
    await this.#ask();
    const missing = this.#config.agent.workers - this.#reports.size;
    const reasons = [...this.#reports].flatMap(([worker, { unready }]) =>
      unready.map((why) => `worker ${this.#workers.get(worker)}: ${why}`),
    );
    return [
      ...(this.#stopping ? ["draining"] : []),
      ...(missing > 0 ? [`${missing} of ${this.#config.agent.workers} workers do not answer`] : []),
      ...reasons,
    ];
  }

  /** Resolves with the number of lost requests. Rejects if none is known to be lost, but a worker did not stop in order. */
  async stop(): Promise<number> {
    this.#stopping = true;
    let failed = 0;
    const givenUp = await Promise.all(
      [...this.#workers.keys()].map(async (worker) => {
        const pending = () => (this.#config.agent.journal ? 0 : (this.#reports.get(worker)?.stats.pending ?? 0));
        let atDeath = pending();
        worker.prependOnceListener("exit", () => {
          atDeath = pending();
        });
        const exit = once(worker, "exit");
        worker.send(stopRequest, () => {});
        const [code] = await exit;
        if (code !== 0) failed++;
        return this.#farewells.get(worker)?.givenUp ?? atDeath;
      }),
    );
    // Stopped last: until then the snapshots keep `pending` up to date for a second signal.
    clearInterval(this.#snapshotTimer);
    process.off("SIGHUP", this.#hangUp);
    const lost = givenUp.reduce((sum, requests) => sum + requests, 0);
    if (lost === 0 && failed > 0) {
      throw new Error(`${failed} of ${givenUp.length} workers did not stop in order: the log lines above say why`);
    }
    return lost;
  }

  #fork(slot: number): Worker {
    const worker = cluster.fork(workerEnv(slot));
    this.#workers.set(worker, slot);
    onFarewell(worker, (stats, givenUp) => this.#farewells.set(worker, { stats, givenUp }));
    worker.once("exit", (code, signal) => this.#exited(worker, slot, code ?? signal));
    return worker;
  }

  #exited(worker: Worker, slot: number, reason: number | string): void {
    this.#workers.delete(worker);
    const last = this.#reports.get(worker);
    this.#reports.delete(worker);
    const { name, journal } = this.#config.agent;
    const final = this.#farewells.get(worker)?.stats ?? (last && asDead(last.stats, journal !== undefined));
    if (final) this.#past = addStats(name, this.#since, this.#past ? [this.#past, final] : [final]);
    if (this.#stopping) return;
    this.#outageOf(slot).fail(String(reason));
    setTimeout(() => {
      if (!this.#stopping) this.#fork(slot).once("listening", () => this.#outageOf(slot).recover());
    }, restartMs).unref();
  }

  #outageOf(slot: number): Outage {
    const known = this.#outages.get(slot);
    if (known) return known;
    const outage = new Outage(this.#log, {
      down: ["worker-ended", "a worker process ended unexpectedly: restarting it"],
      up: ["worker-restarted", "the worker process runs again"],
      about: { worker: slot },
    });
    this.#outages.set(slot, outage);
    return outage;
  }

  async #ask(): Promise<void> {
    await Promise.all(
      [...this.#workers.keys()].map(async (worker) => {
        const report = await askWorker(worker, answerMs);
        if (report && this.#workers.has(worker)) this.#reports.set(worker, report);
      }),
    );
  }

  // Without certificates there is nothing to reload: SIGHUP stops the agent, once, as without workers.
  readonly #hangUp = (): void => {
    if (!this.#config.agent.tls) {
      if (!this.#stopping) process.kill(process.pid, "SIGTERM");
      return;
    }
    for (const { process: child } of this.#workers.keys()) child.kill("SIGHUP");
  };
}

/** The metrics of all workers, and the requests lost with workers that died, which only this process knows. */
class PoolRegistry extends AggregatorRegistry<PrometheusContentType> {
  readonly #lost: () => number;

  constructor(lost: () => number) {
    super();
    this.#lost = lost;
  }

  override async clusterMetrics(): Promise<string> {
    const name = "spoa_relay_agent_requests_total";
    const lost = `${name}{fate="dropped",reason="worker died",worker="0"} ${this.#lost()}\n`;
    return (await super.clusterMetrics()).replace(`# TYPE ${name} counter\n`, (line) => line + lost);
  }
}

async function started(worker: Worker): Promise<void> {
  const failed = new AbortController();
  const { signal } = failed;
  worker.once("exit", () =>
    failed.abort(new Error("a worker of the agent could not start: the log lines before this one have the reason")),
  );
  await once(worker, "listening", { signal }).catch(() => {
    throw signal.reason;
  });
}
