import { describe, expect, it } from "vitest";
import { formerAgents } from "../../relay/state/ended-runs.ts";
import type { Ledger, LedgerTotals, State } from "../../relay/state/port.ts";
import { fannedOut } from "./state-contract.ts";

/** Two processes that share an empty store, whose time `setNow` sets. */
export interface SharedRuns {
  readonly one: State;
  readonly other: State;
  readonly setNow: (nowMs: number) => void;
  readonly close: () => void | Promise<void>;
}

const startMs = Date.parse("2026-11-01T12:00:00Z");
const dayMs = 86_400_000;

/** The contract of every ledger for the rows of agents' runs. */
export function describeEndedRuns(name: string, open: () => Promise<SharedRuns>): void {
  const on = (work: (stage: Stage) => Promise<void>) => async () => {
    const opened = await open();
    try {
      await work(new Stage(opened));
    } finally {
      await opened.close();
    }
  };

  describe(`${name}: runs of agents`, () => {
    it(
      "have a row each until nothing has arrived from them for more than 15 days",
      on(async (stage) => {
        await stage.arrive("edge~1", [1, 2, 3]);
        await stage.arrive("edge~2", [1, 2]);
        stage.pass(14);
        await stage.fold();
        await stage.arrive("edge~2", [3]);
        await stage.fold();

        expect(await stage.totals()).toMatchObject({ agents: [row("edge~1", 3), row("edge~2", 3)] });

        stage.pass(10);
        await stage.fold();

        const { agents, ended } = await stage.totals();
        expect(agents).toEqual([row("edge~2", 3)]);
        expect(ended).toEqual([{ agent: "edge", runs: 1, packs: 3, requests: 30, missingPacks: 0 }]);
      }),
    );

    it(
      "keep their missing packs when they are added up",
      on(async (stage) => {
        await stage.arrive("edge~1", [1, 5]);
        await stage.arrive("edge~2", [3]);
        await stage.arrive("core~1", [2]);
        const before = missing(await stage.totals());
        stage.pass(20);
        await stage.fold();

        const totals = await stage.totals();
        expect(totals.agents).toEqual([]);
        expect(totals.ended).toEqual([
          { agent: "core", runs: 1, packs: 1, requests: 10, missingPacks: 1 },
          { agent: "edge", runs: 2, packs: 3, requests: 30, missingPacks: 5 },
        ]);
        expect(missing(totals)).toBe(before);
      }),
    );

    it(
      "are listed with their rows if they are asked for, and then are not in the sum",
      on(async (stage) => {
        await stage.arrive("edge~1", [1, 2, 4]);
        await stage.arrive("edge~2", [1]);
        stage.pass(20);
        await stage.fold();

        const one = await stage.ledger.totals(["edge~1", "edge~9"]);
        const both = await stage.ledger.totals(["edge~1", "edge~2", "edge~1"]);

        expect(one.agents).toEqual([row("edge~1", 3, 4)]);
        expect(one.ended).toEqual([{ agent: "edge", runs: 1, packs: 1, requests: 10, missingPacks: 0 }]);
        expect(both.agents).toEqual([row("edge~1", 3, 4), row("edge~2", 1)]);
        expect(both.ended ?? []).toEqual([]);
      }),
    );

    it(
      "that go on after a long silence have no gap",
      on(async (stage) => {
        await stage.arrive("edge~1", [1, 2, 3]);
        stage.pass(40);
        await stage.fold();
        await stage.arrive("edge~1", [4]);

        expect(await stage.totals()).toEqual({ agents: [row("edge~1", 4)], targets: expect.anything() });

        stage.pass(1);
        await stage.fold();
        expect(await stage.totals()).toEqual({ agents: [row("edge~1", 4)], targets: expect.anything() });
      }),
    );

    it(
      "lose a gap when its pack arrives after they were added up",
      on(async (stage) => {
        await stage.arrive("edge~1", [1, 3]);
        await stage.arrive("edge~2", [1]);
        stage.pass(20);
        await stage.fold();
        const before = missing(await stage.totals());
        await stage.arrive("edge~1", [2]);
        const late = await stage.totals();
        stage.pass(20);
        await stage.fold();

        expect([before, missing(late)]).toEqual([1, 0]);
        expect((await stage.totals()).ended).toEqual([
          { agent: "edge", runs: 2, packs: 4, requests: 40, missingPacks: 0 },
        ]);
      }),
    );

    it(
      "of agents that are gone are added up in one row, from which late packs still find theirs",
      on(async (stage) => {
        await stage.arrive("host-1~1", [1, 3]);
        await stage.arrive("host-2~1", [1]);
        stage.pass(20);
        await stage.fold();
        stage.pass(20);
        await stage.fold();
        const gone = await stage.totals();
        // The agent begins again: its sum begins anew.
        await stage.arrive("host-1~2", [2]);
        stage.pass(20);
        await stage.fold();
        const again = await stage.totals();
        await stage.arrive("host-1~1", [2]);

        expect(gone.ended).toEqual([{ agent: formerAgents, runs: 2, packs: 3, requests: 30, missingPacks: 1 }]);
        expect(again.ended).toEqual([
          { agent: formerAgents, runs: 2, packs: 3, requests: 30, missingPacks: 1 },
          { agent: "host-1", runs: 1, packs: 1, requests: 10, missingPacks: 1 },
        ]);
        expect(await stage.totals()).toMatchObject({
          agents: [row("host-1~1", 3)],
          ended: [
            { agent: formerAgents, runs: 1, packs: 1, requests: 10, missingPacks: 0 },
            { agent: "host-1", runs: 1, packs: 1, requests: 10, missingPacks: 1 },
          ],
        });
      }),
    );

    it(
      "are added up once if two processes do it at the same time, and the rows of jobs are not",
      on(async (stage) => {
        await Promise.all(Array.from({ length: 30 }, (_, i) => stage.arrive(`edge~${i}`, [1, 3])));
        await stage.arrive("job/20261101-120000-abc", [1]);
        stage.pass(20);
        await Promise.all([stage.fold(), stage.fold(stage.opened.other), stage.fold(stage.opened.other)]);

        expect(await stage.totals()).toMatchObject({
          agents: [{ packs: 1 }],
          ended: [{ agent: "edge", runs: 30, packs: 60, requests: 600, missingPacks: 30 }],
        });
      }),
    );

    it(
      "leave few rows after 1,000 runs of 50 hosts, and the same sums",
      on(async (stage) => {
        let [runs, rows] = [0, 0];
        for (let month = 0; month < 20; month++) {
          // After ten months, other hosts replace them.
          const hosts = Array.from({ length: 25 }, (_, i) => `host-${i + (month < 10 ? 0 : 25)}`);
          const starts = [...hosts, ...hosts].map((host) => stage.arrive(`${host}~${runs++}`, [2]));
          await Promise.all(starts);
          stage.pass(30);
          await stage.fold();
          const { agents, ended = [] } = await stage.totals();
          rows = Math.max(rows, agents.length + ended.length);
        }

        const totals = await stage.totals();
        const all = [...totals.agents, ...(totals.ended ?? [])];
        expect(runs).toBe(1_000);
        // A row for each host, and one for the hosts that are gone.
        expect(rows).toBeLessThanOrEqual(50 + 1);
        expect(totals.ended?.[0]).toMatchObject({ agent: formerAgents, runs: 500 });
        expect(all.reduce((sum, { requests }) => sum + requests, 0)).toBe(10_000);
        expect(missing(totals)).toBe(1_000);
      }),
      240_000,
    );
  });
}

class Stage {
  readonly opened: SharedRuns;
  #nowMs = startMs;

  constructor(opened: SharedRuns) {
    this.opened = opened;
    opened.setNow(this.#nowMs);
  }

  get ledger(): Ledger {
    return this.opened.one.ledger;
  }

  async arrive(agent: string, sequences: readonly number[]): Promise<void> {
    for (const sequence of sequences) {
      await this.ledger.recordFanOut(fannedOut({ pack: `${agent.slice(0, 50)}-${sequence}`, agent, sequence }));
    }
  }

  pass(days: number): void {
    this.#nowMs += days * dayMs;
    this.opened.setNow(this.#nowMs);
  }

  async fold(state: State = this.opened.other): Promise<void> {
    for (let i = 0; i < 3; i++) await state.fold();
  }

  async totals(): Promise<LedgerTotals> {
    return this.ledger.totals();
  }
}

function row(agent: string, packs: number, lastSequence = packs) {
  return { agent, packs, requests: 10 * packs, lastSequence };
}

function missing({ agents, ended = [] }: LedgerTotals): number {
  const ofRuns = agents.reduce((sum, { packs, lastSequence }) => sum + lastSequence - packs, 0);
  return ofRuns + ended.reduce((sum, { missingPacks }) => sum + missingPacks, 0);
}
