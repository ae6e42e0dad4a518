import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { EmbeddedState } from "../../../../relay/state/embedded/state.ts";
import { formerAgents } from "../../../../relay/state/ended-runs.ts";
import { fannedOut } from "../../../contract/state-contract.ts";
import { RunModel, runHistories } from "../../../support/data/run-histories.ts";

const dayMs = 86_400_000;
const root = mkdtempSync(join(tmpdir(), "ended-runs-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("EmbeddedState: runs of agents", () => {
  it("count as if their rows were kept for ever, whatever arrives when", async () => {
    await fc.assert(
      fc.asyncProperty(runHistories(60), async (steps) => {
        const model = new RunModel();
        const now = () => model.nowMs;
        const directory = mkdtempSync(join(root, "state-"));
        const [one, other] = [EmbeddedState.open(directory, now), EmbeddedState.open(directory, now)];
        try {
          for (const step of steps) {
            if (step.kind === "pass") model.nowMs += step.days * dayMs;
            else if (step.kind === "pack") {
              const pack = model.receive(step.run, step.sequence, step.requests);
              const { run: agent, sequence, requests } = step;
              if (pack) await one.ledger.recordFanOut(fannedOut({ pack, agent, sequence, requests }));
            } else for (let i = 0; i < step.times; i++) await (i === 0 ? one : other).fold();
            expect(await model.differenceTo(other.ledger), JSON.stringify(step)).toBeUndefined();
          }
        } finally {
          one.close();
          other.close();
        }
      }),
      { numRuns: 40 },
    );
  });

  it("have at most 2,000 rows, and their agents 1,000, however many start within an hour", async () => {
    let nowMs = Date.parse("2026-11-01");
    const state = EmbeddedState.open(mkdtempSync(join(root, "state-")), () => nowMs);
    const starts = 6_000;
    for (let i = 0; i < starts; i++) {
      await state.ledger.recordFanOut(fannedOut({ pack: `${i}`, agent: `host-${i}~0badcafe`, sequence: 2 }));
    }
    for (let minute = 0; minute < 20; minute++) {
      nowMs += 60_000;
      await state.fold();
    }

    const { agents, ended = [] } = await state.ledger.totals();
    const former = ended.find(({ agent }) => agent === formerAgents);
    expect([agents.length, ended.length]).toEqual([2_000, 1_000]);
    expect(former?.runs).toBe(starts - agents.length - ended.length + 1);
    expect(ended.reduce((sum, { missingPacks }) => sum + missingPacks, agents.length)).toBe(starts);
    await state.ledger.recordFanOut(fannedOut({ pack: "late", agent: "host-0~0badcafe", sequence: 1 }));
    const late = await state.ledger.totals(["host-0~0badcafe"]);
    expect(late.agents.find(({ agent }) => agent === "host-0~0badcafe")).toMatchObject({ packs: 2, lastSequence: 2 });
    state.close();
  });

  it("that a version before has counted are folded, too", async () => {
    let nowMs = Date.parse("2026-11-01");
    const directory = mkdtempSync(join(root, "state-"));
    EmbeddedState.open(directory, () => nowMs).close();
    const file = new DatabaseSync(join(directory, "state.db"));
    file.exec("INSERT INTO agent VALUES ('edge~1', 7, 70, 9), ('job/20261101-120000-abc', 1, 10, 1)");
    file.close();
    const state = EmbeddedState.open(directory, () => nowMs);
    for (let day = 0; day < 17; day++) {
      await state.fold();
      nowMs += dayMs;
    }

    const { agents, ended } = await state.ledger.totals();
    expect(agents.map(({ agent }) => agent)).toEqual(["job/20261101-120000-abc"]);
    expect(ended).toEqual([{ agent: "edge", runs: 1, packs: 7, requests: 70, missingPacks: 2 }]);
    state.close();
  });

  it.each(["before a fold", "before this version hears of it"])(
    "keep one row if a version before counts a late pack beside this one: %s",
    async (when) => {
      let nowMs = Date.parse("2026-11-01");
      const directory = mkdtempSync(join(root, "state-"));
      const state = EmbeddedState.open(directory, () => nowMs);
      await state.ledger.recordFanOut(fannedOut({ pack: "1", agent: "edge~1", sequence: 1, requests: 10 }));
      nowMs += 16 * dayMs;
      await state.fold();
      const file = new DatabaseSync(join(directory, "state.db"));
      file.exec("INSERT INTO agent VALUES ('edge~1', 1, 10, 2)");
      file.close();

      if (when === "before a fold") await state.fold();
      else await state.ledger.recordFanOut(fannedOut({ pack: "3", agent: "edge~1", sequence: 3, requests: 10 }));
      const packs = when === "before a fold" ? 2 : 3;
      const row = { agent: "edge~1", packs, requests: packs * 10, lastSequence: packs };
      expect(await state.ledger.totals(["edge~1"])).toEqual({ ...(await state.ledger.totals()), agents: [row] });

      nowMs += 16 * dayMs;
      await state.fold();
      const { agents, ended } = await state.ledger.totals();
      expect(agents).toEqual([]);
      expect(ended).toEqual([{ agent: "edge", runs: 1, packs, requests: packs * 10, missingPacks: 0 }]);
      state.close();
    },
  );

  it("forget rows that were kept aside for 400 days", async () => {
    let nowMs = Date.parse("2026-11-01");
    const directory = mkdtempSync(join(root, "state-"));
    const state = EmbeddedState.open(directory, () => nowMs);
    await state.ledger.recordFanOut(fannedOut({ agent: "edge~1", sequence: 3 }));
    for (const days of [16, 399, 2]) {
      nowMs += days * dayMs;
      await state.fold();
    }
    state.close();

    const file = new DatabaseSync(join(directory, "state.db"));
    const rows = ["agent", "heard", "ended_run", "ended_agent"].map(
      (table) => file.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.count,
    );
    file.close();
    expect(rows).toEqual([0, 0, 0, 1]);
  });
});
