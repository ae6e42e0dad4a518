import fc from "fast-check";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { EndedSums, runsToFold } from "../../../../relay/state/dynamodb/ended-sums.ts";
import { oldBaseKey } from "../../../../relay/state/dynamodb/keys.ts";
import type { ItemKey } from "../../../../relay/state/dynamodb/table-client.ts";
import { tallyLayout } from "../../../../relay/state/dynamodb/tally-layout.ts";
import { formerAgents } from "../../../../relay/state/ended-runs.ts";
import { fannedOut } from "../../../contract/state-contract.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";
import { RunModel, runHistories } from "../../../support/data/run-histories.ts";

const dayMs = 86_400_000;

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("DynamoDbState: runs of agents", () => {
  it("count as if their rows were kept for ever, whatever arrives when, and whichever process dies", async () => {
    await fc.assert(
      fc.asyncProperty(runHistories(16), async (steps) => {
        const model = new RunModel();
        const now = () => model.nowMs;
        const states = await startStates();
        const [writer, other] = [states.open({ now }), states.open({ now })];
        const folder = await states.openThroughProxy({ now });
        for (const step of steps) {
          if (step.kind === "pass") model.nowMs += step.days * dayMs;
          else if (step.kind === "pack") {
            const pack = model.receive(step.run, step.sequence, step.requests);
            const { run: agent, sequence, requests } = step;
            if (pack) await writer.ledger.recordFanOut(fannedOut({ pack, agent, sequence, requests }));
          } else {
            if (step.crashAfter !== undefined) {
              folder.proxy.dieAfter(step.crashAfter, step.executed ? "loses the answer" : "is refused");
            }
            const folding = Array.from({ length: step.times }, () => folder.state.fold().catch(() => {}));
            await Promise.all([...folding, ...(step.times > 1 ? [other.fold()] : [])]);
            folder.proxy.heal();
          }
          expect(await model.differenceTo(other.ledger), JSON.stringify(step)).toBeUndefined();
        }
      }),
      { numRuns: 8 },
    );
  }, 300_000);
});

describe("DynamoDbState: runs that the version before has counted", () => {
  it("do not keep others from being folded, however many they are", async () => {
    const nowMs = Date.parse("2026-11-01");
    const [startedDay, heardDay] = [40, 20].map((days) => Math.floor(nowMs / dayMs) - days);
    const runs = Array.from({ length: 1_000 }, (_, i) => `edge-${i}~1`);
    const states = await startStates();
    const toBaseItem = ({ pk, sk }: ItemKey, rows: readonly (readonly [string, readonly number[]])[]) => ({
      pk: { S: pk },
      sk: { S: sk },
      generation: { S: "g" },
      sums: { S: JSON.stringify({ a: Object.fromEntries(rows) }) },
      folded: { S: "" },
    });
    const rows = runs.map((run) => [run, [1, 10, 2, startedDay]] as const);
    await states.table.put(
      toBaseItem(
        oldBaseKey,
        runs.map((run) => [run, [1, 10, 1]]),
      ),
    );
    for (const [part, key] of tallyLayout.bases.entries()) {
      const mine = [...rows, ["later~1", [3, 30, 4, heardDay]] as const].filter(
        ([run]) => tallyLayout.baseOf(run) === part,
      );
      await states.table.put(toBaseItem(key, mine));
    }

    const state = states.open({ now: () => nowMs });
    await state.fold();

    const { agents, ended } = await state.ledger.totals();
    expect(agents.length).toBe(1_000);
    expect(ended).toEqual([{ agent: "later", runs: 1, packs: 3, requests: 30, missingPacks: 1 }]);
  });
});

describe("runs that a base folds", () => {
  const rows = Array.from({ length: 400 }, (_, i) => [`edge-${i}~0badcafe`, 20_000 + (i % 10)] as const);

  it("are those that were silent for 15 whole days", () => {
    const days = [19_983, 19_984, 19_985].map((day) => [`${day}`, day] as const);

    expect(runsToFold(days, 20_000)).toEqual(["19983", "19984"]);
  });

  it("are at most a hundred at once, the longest silent first", () => {
    const folded = runsToFold(rows, 21_000);

    expect(folded.length).toBe(100);
    expect(new Set(folded.map((run) => rows.find(([name]) => name === run)?.[1]))).toEqual(
      new Set([20_000, 20_001, 20_002]),
    );
  });

  it("are also the longest silent of more than a base has room for", () => {
    const folded = new Set(runsToFold(rows, 20_009));
    const kept = rows.filter(([run]) => !folded.has(run));

    expect(kept.length).toBeLessThan(400);
    expect(kept.length).toBeGreaterThan(250);
    expect(Math.min(...kept.map(([, day]) => day))).toBeGreaterThan(20_000);
    expect(runsToFold(kept, 20_009)).toEqual([]);
  });
});

describe("sums of runs that have ended", () => {
  const run = { packs: 2, requests: 20, lastSequence: 3 };

  it("have rows for some hundred agents, and one for all others, from which a run still finds its way back", () => {
    const sums = new EndedSums();
    const runs = Array.from({ length: 1_000 }, (_, i) => `host-${i}~0badcafe`);
    runs.forEach((name, i) => {
      sums.foldAgents(undefined, 20_000);
      sums.fold(name, { ...run, foldNumber: i }, 20_000);
    });
    sums.foldAgents(undefined, 20_000);
    const totals = sums.toTotals();

    expect(totals.length).toBeLessThan(500);
    expect(totals.find(({ agent }) => agent === formerAgents)?.runs).toBe(1_001 - totals.length);
    expect(totals.reduce((sum, { missingPacks }) => sum + missingPacks, 0)).toBe(1_000);

    for (const [i, name] of runs.entries()) sums.takeOut(name, { ...run, foldNumber: i });
    expect(sums.toTotals()).toEqual([]);
  });

  it("put agents with names that no agent may have among the former agents", () => {
    const sums = new EndedSums();
    sums.fold("x".repeat(60_000), { ...run, foldNumber: 1 }, 20_000);

    expect(sums.toTotals()).toEqual([{ agent: formerAgents, runs: 1, packs: 2, requests: 20, missingPacks: 1 }]);
  });
});
