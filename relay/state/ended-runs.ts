import type { RunTotals } from "./port.ts";

// Each start of an agent is a run, which has a row in the ledger. Rows of runs that have ended are added up: first by agent, and
// those of agents that are gone all together. The row itself is kept aside, where only a late pack looks for it: it takes the
// run out of its sum again, so that no pack is ever taken for a gap, or counted twice.

/** How long nothing arrives from a run before its row is added to its agent's; SQS keeps a pack for at most 14 days. */
export const silentMs = 15 * 86_400_000;

/**
 * How long a row is kept aside. A pack that comes even later begins a new row, as if the agent had lost all packs before it.
 */
export const keptAsideMs = 400 * 86_400_000;

/** The sum of agents that are gone. No agent has this name: it contains a space. */
export const formerAgents = "former agents";

/** The name of the agent in the name of its run, such as `edge` in `edge~0badcafe`. */
export function agentOf(run: string): string {
  return run.replace(/~[^~]*$/, "");
}

/** The agent that an ended run is added to. A longer name than an agent may have comes from elsewhere. */
export function homeOf(run: string): string {
  const agent = agentOf(run);
  return agent.length > agentLengthMost ? formerAgents : agent;
}

/** Packs whose numbers are missing. None if more packs were counted than were numbered: a copy that came very late. */
export function missingPacksOf({ packs, lastSequence }: Pick<RunTotals, "packs" | "lastSequence">): number {
  return Math.max(0, lastSequence - packs);
}

const agentLengthMost = 255;
