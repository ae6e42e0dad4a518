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
