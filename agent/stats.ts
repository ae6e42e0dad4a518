import { Counter, Gauge, Registry } from "prom-client";
import type { AgentStats } from "../relay/agent-stats.ts";
import type { AgentLedger } from "./ledger.ts";

export type AgentGauges = Pick<
  AgentStats,
  "packs" | "packBytes" | "connections" | "waitingBytes" | "journalBytes" | "journalPacks"
>;

export function toAgentStats(agent: string, since: string, ledger: AgentLedger, gauges: AgentGauges): AgentStats {
  const { seen, sampledOut, filtered, looped, pending, enqueued, recovered } = ledger;
  return {
    agent,
    since,
    seen,
    sampledOut,
    filtered,
    looped,
    unusable: Object.fromEntries(ledger.unusable),
    dropped: Object.fromEntries(ledger.dropped),
    pending,
    enqueued,
    recovered,
    ...gauges,
  };
}

/** The same figures for Prometheus, read when they are scraped. */
export function createAgentMetrics(read: () => AgentStats): Registry {
  const registry = new Registry();
  const registers = [registry];
  new Counter({
    name: "spoa_relay_agent_requests_total",
    help: "Requests by fate; seen is the sum of all others",
    labelNames: ["fate", "reason"],
    registers,
    collect() {
      const stats = read();
      this.reset();
      for (const fate of ["seen", "sampledOut", "filtered", "looped", "enqueued"] as const) {
        this.inc({ fate, reason: "" }, stats[fate]);
      }
      for (const fate of ["unusable", "dropped"] as const) {
        for (const [reason, count] of Object.entries(stats[fate])) this.inc({ fate, reason }, count);
      }
    },
  });
  const gauge = (name: string, help: string, value: (stats: AgentStats) => number): void => {
    new Gauge({
      name: `spoa_relay_agent_${name}`,
      help,
      registers,
      collect() {
        this.set(value(read()));
      },
    });
  };
  gauge("pending_requests", "Requests in packs that are not in the queue yet", (stats) => stats.pending);
  gauge("connections", "Open SPOP connections", (stats) => stats.connections);
  gauge("waiting_bytes", "Bytes that wait for the queue", (stats) => stats.waitingBytes);
  gauge("journal_bytes", "Bytes that the journal takes on disk", (stats) => stats.journalBytes);
  gauge("journal_packs", "Packs that wait in the journal alone", (stats) => stats.journalPacks);
  gauge("packs_sent", "Packs sent since the start", (stats) => stats.packs);
  gauge("pack_bytes_sent", "Bytes of the packs sent since the start", (stats) => stats.packBytes);
  return registry;
}
