import fc from "fast-check";
import type { Ledger, LedgerTotals } from "../../../relay/state/port.ts";

const dayMs = 86_400_000;
const runs = ["edge~1", "edge~2", "edge~3", "core~1", "core~2", "host-1~1"];
// The shortest time for which a store recognises a pack that still has requests without a fate.
const recognisedMs = 14 * dayMs;

export type RunStep =
  | { readonly kind: "pack"; readonly run: string; readonly sequence: number; readonly requests: number }
  | { readonly kind: "pass"; readonly days: number }
  /** With `crashAfter`, the process dies after so many calls to its store; `answered`: the last call is executed. */
  | { readonly kind: "fold"; readonly times: number; readonly crashAfter?: number; readonly executed: boolean };

/** Packs of a few runs in any order, repeated, late, or never sent, with folds and deaths in between. */
export function runHistories(length: number): fc.Arbitrary<readonly RunStep[]> {
  const pack = fc.record({
    kind: fc.constant("pack" as const),
    run: fc.constantFrom(...runs),
    sequence: fc.integer({ min: 1, max: 6 }),
    requests: fc.integer({ min: 1, max: 9 }),
  });
  const pass = fc.record({ kind: fc.constant("pass" as const), days: fc.constantFrom(1, 10, 17, 17, 40) });
  const fold = fc.record(
    {
      kind: fc.constant("fold" as const),
      times: fc.integer({ min: 1, max: 3 }),
      crashAfter: fc.nat(70),
      executed: fc.boolean(),
    },
    { requiredKeys: ["kind", "times", "executed"] },
  );
  return fc.array(fc.oneof({ arbitrary: pack, weight: 3 }, pass, fold), { maxLength: length, size: "max" });
}

/** What a ledger that keeps the row of each run for ever has counted. */
export class RunModel {
  nowMs = Date.parse("2026-11-01T12:00:00Z");
  readonly #rows = new Map<string, { packs: number; requests: number; lastSequence: number }>();
  readonly #arrivedAtMs = new Map<string, number>();

  /** Returns the id for the pack; undefined if no store has to recognise it any more. */
  receive(run: string, sequence: number, requests: number): string | undefined {
    const pack = `${run}-${sequence}`;
    const beforeMs = this.#arrivedAtMs.get(pack);
    if (beforeMs !== undefined) return this.nowMs - beforeMs < recognisedMs ? pack : undefined;
    this.#arrivedAtMs.set(pack, this.nowMs);
    const row = this.#rows.get(run) ?? { packs: 0, requests: 0, lastSequence: 0 };
    this.#rows.set(run, {
      packs: row.packs + 1,
      requests: row.requests + requests,
      lastSequence: Math.max(row.lastSequence, sequence),
    });
    return pack;
  }

  /** What differs, or undefined. */
  async differenceTo(ledger: Ledger): Promise<object | undefined> {
    const expected = Array.from(this.#rows, ([agent, row]) => ({ agent, ...row })).sort(byAgent);
    const each = await ledger.totals(runs);
    const found = each.agents.toSorted(byAgent);
    if (JSON.stringify(found.map(inOrder)) !== JSON.stringify(expected.map(inOrder)) || each.ended) {
      return { expected, found, ended: each.ended };
    }
    const folded = await ledger.totals();
    const negative = folded.ended?.some((sum) => sum.packs < 0 || sum.requests < 0 || sum.missingPacks < 0);
    const [before, after] = [sumOf({ agents: expected }), sumOf(folded)];
    return JSON.stringify(before) === JSON.stringify(after) && !negative ? undefined : { before, after, folded };
  }
}

type Row = LedgerTotals["agents"][number];

function inOrder({ agent, packs, requests, lastSequence }: Row) {
  return [agent, packs, requests, lastSequence];
}

function byAgent(a: Row, b: Row): number {
  return a.agent < b.agent ? -1 : 1;
}

function sumOf({ agents, ended = [] }: Pick<LedgerTotals, "agents" | "ended">): readonly number[] {
  const rows = [
    ...agents.map(({ packs, requests, lastSequence }) => [packs, requests, lastSequence - packs]),
    ...ended.map(({ packs, requests, missingPacks }) => [packs, requests, missingPacks]),
  ];
  return [0, 1, 2].map((column) => rows.reduce((sum, row) => sum + row[column], 0));
}
