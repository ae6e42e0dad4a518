import fc from "fast-check";
import { expect, it } from "vitest";
import { type AgentLedger, addTo, createLedger } from "../../agent/ledger.ts";
import { type AgentGauges, addStats, asDead, toAgentStats } from "../../agent/stats.ts";
import type { AgentStats } from "../../relay/stats/agent-stats.ts";

const gauges: AgentGauges = {
  packs: 1,
  packBytes: 2,
  connections: 3,
  waitingBytes: 4,
  journalBytes: 5,
  journalPacks: 6,
};

const anyLedger: fc.Arbitrary<AgentLedger> = fc.array(fc.nat(1_000), { minLength: 9, maxLength: 9 }).map((counts) => {
  const [sampledOut, filtered, looped, upgrade, pending, enqueued, connects, unusable, dropped] = counts;
  const seen = counts.reduce((sum, count) => sum + count, 0);
  const ledger = Object.assign(createLedger(), { seen, sampledOut, filtered, looped, upgrade, pending, enqueued });
  addTo(ledger.unreplayable, "CONNECT", connects);
  addTo(ledger.unusable, "no path", unusable);
  addTo(ledger.dropped, "oversize", dropped);
  return ledger;
});

/** All request counts but `seen`, found by their type rather than by their names. */
function sumOfCounts({ seen, recovered, packs, packBytes, connections, ...stats }: AgentStats): number {
  const { waitingBytes, journalBytes, journalPacks, ...counts } = stats;
  return Object.values(counts)
    .flatMap((value) => (typeof value === "object" && !Array.isArray(value) ? Object.values(value) : [value]))
    .reduce((sum: number, value) => (typeof value === "number" ? sum + value : sum), 0);
}

it("are the sum of all workers' stats, with every request in one count", () => {
  fc.assert(
    fc.property(fc.array(anyLedger, { minLength: 1, maxLength: 4 }), (ledgers) => {
      const all = ledgers.map((ledger, i) => toAgentStats(`edge~${i}`, "", ledger, gauges));

      const added = addStats("edge", "", all);

      expect(added.seen).toBe(ledgers.reduce((sum, { seen }) => sum + seen, 0));
      expect(sumOfCounts(added)).toBe(added.seen);
    }),
  );
});

it("have each warning of the workers once", () => {
  const stats = (warnings?: readonly string[]) =>
    toAgentStats("edge~1", "", createLedger(), { ...gauges, ...(warnings && { warnings }) });

  expect(addStats("edge", "", [stats(["a"]), stats(), stats(["b", "a"])]).warnings).toEqual(["a", "b"]);
  expect(addStats("edge", "", [stats()])).not.toHaveProperty("warnings");
  expect(addStats("edge", "", [asDead(stats(["a"]), true)])).not.toHaveProperty("warnings");
});
