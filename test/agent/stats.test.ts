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

it("have the sum of each figure, also of those that are in no count of requests", () => {
  const ledger = (recovered: number) => Object.assign(createLedger(), { recovered });
  const other = { packs: 10, packBytes: 20, connections: 30, waitingBytes: 40, journalBytes: 50, journalPacks: 60 };

  const added = addStats("edge", "", [
    toAgentStats("edge~1", "", ledger(7), gauges),
    toAgentStats("edge~2", "", ledger(70), other),
  ]);

  expect(added).toMatchObject({
    runs: ["edge~1", "edge~2"],
    recovered: 77,
    packs: 11,
    packBytes: 22,
    connections: 33,
    waitingBytes: 44,
    journalBytes: 55,
    journalPacks: 66,
  });
  expect(added).not.toHaveProperty("died");
});

it("keep the requests of workers that died: in the journal for their successor, or dropped without one", () => {
  const stats = (run: string, enqueued: number, pending: number) =>
    toAgentStats(run, "", Object.assign(createLedger(), { seen: enqueued + pending, enqueued, pending }), gauges);

  const journaled = addStats("edge", "", [
    asDead(stats("edge~1", 10, 3), true),
    asDead(stats("edge~2", 20, 4), true),
    stats("edge~3", 5, 1),
  ]);
  const volatile = asDead(stats("edge~1", 10, 3), false);

  expect(journaled.died).toEqual({ runs: ["edge~1", "edge~2"], enqueued: 30, leftInJournal: 7 });
  expect(journaled).toMatchObject({ seen: 43, enqueued: 35, pending: 1, dropped: {}, journalBytes: 5, connections: 3 });
  expect(volatile).toMatchObject({ pending: 0, dropped: { "worker died": 3 } });
  expect(volatile.died).toEqual({ runs: ["edge~1"], enqueued: 10, leftInJournal: 0 });
});
