import type { AgentStats, DiedStats } from "../relay/stats/agent-stats.ts";
import type { AgentLedger } from "./ledger.ts";

export type AgentGauges = Pick<
  AgentStats,
  "packs" | "packBytes" | "connections" | "waitingBytes" | "journalBytes" | "journalPacks" | "warnings"
>;

export function toAgentStats(agent: string, since: string, ledger: AgentLedger, gauges: AgentGauges): AgentStats {
  const { seen, sampledOut, filtered, looped, upgrade, pending, enqueued, recovered } = ledger;
  return {
    agent,
    runs: [agent],
    since,
    seen,
    sampledOut,
    filtered,
    looped,
    upgrade,
    unreplayable: Object.fromEntries(ledger.unreplayable),
    unusable: Object.fromEntries(ledger.unusable),
    dropped: Object.fromEntries(ledger.dropped),
    pending,
    enqueued,
    recovered,
    ...(ledger.omittedBodies.size > 0 && { omittedBodies: Object.fromEntries(ledger.omittedBodies) }),
    ...gauges,
  };
}

/** Adds up the stats of several agents, as if they were one. */
export function addStats(agent: string, since: string, all: readonly AgentStats[]): AgentStats {
  const sum = (pick: (stats: AgentStats) => number): number => all.reduce((total, stats) => total + pick(stats), 0);
  const sums = (pick: (stats: AgentStats) => Readonly<Record<string, number>>): Record<string, number> => {
    const total: Record<string, number> = {};
    for (const stats of all) {
      for (const [reason, count] of Object.entries(pick(stats))) total[reason] = (total[reason] ?? 0) + count;
    }
    return total;
  };
  const omittedBodies = sums((stats) => stats.omittedBodies ?? {});
  const warnings = new Set(all.flatMap((stats) => stats.warnings ?? []));
  return {
    agent,
    runs: all.flatMap(({ runs }) => runs),
    since,
    seen: sum((stats) => stats.seen),
    sampledOut: sum((stats) => stats.sampledOut),
    filtered: sum((stats) => stats.filtered),
    looped: sum((stats) => stats.looped),
    upgrade: sum(({ upgrade = 0 }) => upgrade),
    unreplayable: sums(({ unreplayable = {} }) => unreplayable),
    unusable: sums((stats) => stats.unusable),
    dropped: sums((stats) => stats.dropped),
    pending: sum((stats) => stats.pending),
    enqueued: sum((stats) => stats.enqueued),
    recovered: sum((stats) => stats.recovered),
    ...(Object.keys(omittedBodies).length > 0 && { omittedBodies }),
    ...addDied(all.flatMap(({ died }) => died ?? [])),
    packs: sum((stats) => stats.packs),
    packBytes: sum((stats) => stats.packBytes),
    connections: sum((stats) => stats.connections),
    waitingBytes: sum((stats) => stats.waitingBytes),
    journalBytes: sum((stats) => stats.journalBytes),
    journalPacks: sum((stats) => stats.journalPacks),
    ...(warnings.size > 0 && { warnings: [...warnings] }),
  };
}

function addDied(all: readonly DiedStats[]): { readonly died?: DiedStats } {
  if (all.length === 0) return {};
  const sum = (pick: (died: DiedStats) => number): number => all.reduce((total, died) => total + pick(died), 0);
  return {
    died: {
      runs: all.flatMap(({ runs }) => runs),
      enqueued: sum(({ enqueued }) => enqueued),
      leftInJournal: sum(({ leftInJournal }) => leftInJournal),
    },
  };
}

/**
 * The final stats of a worker that died. With a journal, pending requests are left to its successor. Without a journal,
 * all of them count as dropped, although some may have been sent since the worker's last report.
 */
export function asDead(stats: AgentStats, journaled: boolean): AgentStats {
  const { runs, enqueued, pending, dropped } = stats;
  const lost = journaled ? 0 : pending;
  return {
    ...stats,
    connections: 0,
    waitingBytes: 0,
    // The successor reports what it finds in the journal.
    journalBytes: 0,
    journalPacks: 0,
    warnings: [],
    pending: 0,
    dropped: lost === 0 ? dropped : { ...dropped, "worker died": lost },
    died: { runs, enqueued, leftInJournal: pending - lost },
  };
}
