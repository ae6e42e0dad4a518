import cluster, { type Worker } from "node:cluster";
import { AggregatorRegistry, type Registry } from "prom-client";
import type { AgentStats } from "../relay/stats/agent-stats.ts";

// Messages between the first process of an agent and its workers, over the channel of node:cluster.

const slotVariable = "SPOA_RELAY_WORKER";

/** The environment that makes a worker number `slot`, counted from 1. */
export function workerEnv(slot: number): Record<string, string> {
  return { [slotVariable]: String(slot) };
}

/** The number of this worker; its successor has the same one. 1 in an agent without workers. */
export function workerSlot(): number {
  return cluster.isWorker ? Number(process.env[slotVariable]) : 1;
}

/** A worker's answer. */
export interface WorkerReport {
  readonly stats: AgentStats;
  readonly unready: readonly string[];
}

interface Question {
  readonly kind: "spoa-relay:ask";
}

interface Farewell extends WorkerReport {
  readonly kind: "spoa-relay:farewell";
  readonly givenUp: number;
}

interface Answer extends WorkerReport {
  readonly kind: "spoa-relay:answer";
}

/** In a worker: answers the first process, and gives it the metrics, each labelled with the worker's number. */
export function answerPrimary(metrics: Registry, report: () => WorkerReport): void {
  metrics.setDefaultLabels({ worker: String(workerSlot()) });
  AggregatorRegistry.setRegistries(metrics);
  // Created for its side effect: it answers the first process's requests for metrics.
  new AggregatorRegistry();
  process.on("message", (message: Question) => {
    if (message.kind === "spoa-relay:ask") process.send?.({ kind: "spoa-relay:answer", ...report() } satisfies Answer);
  });
}

/** In the first process: asks a worker for its report; undefined if it does not answer within `withinMs`. */
export async function askWorker(worker: Worker, withinMs: number): Promise<WorkerReport | undefined> {
  if (!worker.isConnected()) return undefined;
  return new Promise((resolve) => {
    const done = (report: WorkerReport | undefined): void => {
      clearTimeout(timer);
      worker.off("message", take);
      resolve(report);
    };
    const take = (message: Answer): void => {
      if (message.kind === "spoa-relay:answer") done(message);
    };
    const timer = setTimeout(() => done(undefined), withinMs);
    worker.on("message", take);
    worker.send({ kind: "spoa-relay:ask" } satisfies Question, (error) => {
      if (error) done(undefined);
    });
  });
}

/** In a worker: sends its final stats, and how many requests it gave up, as its last message. */
export async function sayFarewell(stats: AgentStats, givenUp: number): Promise<void> {
  if (!process.connected) return;
  const farewell: Farewell = { kind: "spoa-relay:farewell", stats, unready: ["draining"], givenUp };
  await new Promise<void>((resolve) => process.send?.(farewell, () => resolve()));
}

/** In the first process: calls `take` with the last message of a worker. */
export function onFarewell(worker: Worker, take: (stats: AgentStats, givenUp: number) => void): void {
  worker.on("message", (message: Farewell) => {
    if (message.kind === "spoa-relay:farewell") take(message.stats, message.givenUp);
  });
}
