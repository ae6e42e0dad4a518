import { describe, expect, it } from "vitest";
import { settledIndexes } from "../../relay/state/fate-sheet.ts";
import type { FannedOutPack, Fate, Ledger, Settlement, SlotRounds } from "../../relay/state/port.ts";
import { type SlotRound, toNextRound, toOpenedRound } from "../../relay/state/slot-round.ts";

/** An empty state store. */
export interface OpenedState {
  readonly rounds: SlotRounds;
  readonly ledger: Ledger;
  readonly close: () => void | Promise<void>;
}

/** The contract of every state store. */
export function describeState(name: string, open: () => Promise<OpenedState>): void {
  const on = (work: (opened: OpenedState) => Promise<void>) => async () => {
    const opened = await open();
    try {
      await work(opened);
    } finally {
      await opened.close();
    }
  };

  describe(`${name}: slot rounds`, () => {
    it(
      "are none at first",
      on(async ({ rounds }) => {
        expect([await rounds.read("a"), await rounds.enter("a")]).toEqual([undefined, undefined]);
      }),
    );

    it(
      "are read as they were opened, to the last fraction",
      on(async ({ rounds }) => {
        const opened = await rounds.open("a", undefined, opening);

        expect(opened).toEqual({ written: true, table: { round: opening, entered: 0 } });
        expect(await rounds.read("a")).toEqual({ round: opening, entered: 0 });
      }),
    );

    it(
      "give each of many workers that enter at once a seat of its own",
      on(async ({ rounds }) => {
        await rounds.open("a", undefined, opening);
        const tables = await Promise.all(Array.from({ length: 20 }, () => rounds.enter("a")));

        const seats = tables.map((table) => (table?.entered ?? 0) - 1).sort((a, b) => a - b);
        expect(seats).toEqual(Array.from({ length: 20 }, (_, i) => i));
        expect(tables.map((table) => table?.round)).toEqual(tables.map(() => opening));
      }),
    );

    it(
      "are closed with the seats that were taken, and one for the worker that closes if it asks",
      on(async ({ rounds }) => {
        await rounds.open("a", undefined, opening);
        await rounds.enter("a");
        await rounds.enter("a");
        const next = toNextRound(opening, 50_000, 0, 0);
        const closed = await rounds.close("a", opening, next, true);
        await rounds.enter("a");
        const last = { ...next, seats: 3 };
        const afterwards = await rounds.close("a", last, toNextRound(last, 50_000, 0, 0), false);

        expect(closed).toEqual({ written: true, table: { round: { ...next, seats: 3 }, entered: 0 } });
        expect(afterwards.table?.round.seats).toBe(1);
      }),
    );

    it(
      "are closed and opened by one worker only, and tell the others of the newest round",
      on(async ({ rounds }) => {
        const opened = await Promise.all(
          Array.from({ length: 5 }, (_, i) =>
            rounds.open("a", undefined, { ...opening, closeUs: opening.closeUs + i }),
          ),
        );
        const [first] = opened.filter(({ written }) => written);
        const round = first.table?.round ?? opening;
        await rounds.enter("a");
        const closed = await Promise.all(
          Array.from({ length: 5 }, (_, i) => rounds.close("a", round, toNextRound(round, 10_000 + i, 0, 0), true)),
        );

        for (const all of [opened, closed]) {
          expect(all.filter(({ written }) => written).length).toBe(1);
          expect(all.map(({ table }) => table?.round)).toEqual(all.map(() => all[0].table?.round));
        }
        expect(closed[0].table?.round.seats).toBe(2);
      }),
    );

    it(
      "void the seats that were taken if a round is opened instead",
      on(async ({ rounds }) => {
        await rounds.open("a", undefined, opening);
        await rounds.enter("a");
        const next = toOpenedRound(opening, 50_000, opening.endUs + 5e6, 0);
        const opened = await rounds.open("a", opening, next);

        expect(opened).toEqual({ written: true, table: { round: next, entered: 0 } });
      }),
    );

    it(
      "are not closed if the state has lost them",
      on(async ({ rounds }) => {
        const lost = { written: false, table: undefined };

        expect(await rounds.close("a", opening, toNextRound(opening, 50_000, 0, 0), true)).toEqual(lost);
        expect(await rounds.open("a", opening, opening)).toEqual(lost);
        expect(await rounds.read("a")).toBe(undefined);
      }),
    );

    it(
      "are separate for each target",
      on(async ({ rounds }) => {
        await rounds.open("a", undefined, opening);

        expect(await rounds.read("b")).toBe(undefined);
      }),
    );
  });

  describe(`${name}: ledger`, () => {
    it(
      "is empty at first",
      on(async ({ ledger }) => {
        expect(await ledger.totals()).toEqual({ agents: [], targets: new Map() });
        expect(settledIndexes(await ledger.sheet("a", "p1"))).toEqual(new Set());
      }),
    );

    it(
      "counts all requests of a pack at each of its targets, and those not sent to its queue by reason",
      on(async ({ ledger }) => {
        const targets = new Map<string, Settlement>([
          ["a", new Map()],
          ["b", settlement({ 0: "filtered", 3: "sampledOut", 4: "sampledOut" })],
        ]);
        await ledger.recordFanOut(fannedOut({ requests: 10, targets }));

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10 });
        expect(await totalsOf(ledger, "b")).toEqual({ enqueued: 10, filtered: 1, sampledOut: 2 });
        expect(settledIndexes(await ledger.sheet("b", "p1"))).toEqual(new Set([0, 3, 4]));
      }),
    );

    it(
      "counts the packs of each agent and keeps the highest sequence number",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ pack: "p1", agent: "edge-1", sequence: 7, requests: 10 }));
        await ledger.recordFanOut(fannedOut({ pack: "p2", agent: "edge-1", sequence: 6, requests: 5 }));
        await ledger.recordFanOut(fannedOut({ pack: "p3", agent: "edge-2", sequence: 1, requests: 1 }));

        const { agents } = await ledger.totals();
        expect([...agents].sort((a, b) => (a.agent < b.agent ? -1 : 1))).toEqual([
          { agent: "edge-1", packs: 2, requests: 15, lastSequence: 7 },
          { agent: "edge-2", packs: 1, requests: 1, lastSequence: 1 },
        ]);
      }),
    );

    it(
      "counts a pack once if it is fanned out twice",
      on(async ({ ledger }) => {
        const pack = fannedOut({ requests: 10, targets: new Map([["a", settlement({ 0: "filtered" })]]) });
        await ledger.recordFanOut(pack);
        const once = await ledger.totals();

        await ledger.recordFanOut(pack);

        expect(await ledger.totals()).toEqual(once);
      }),
    );

    it(
      "counts a target that was missing in the first fan-out of the pack",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10, targets: new Map([["a", new Map()]]) }));
        await ledger.recordFanOut(
          fannedOut({
            requests: 10,
            targets: new Map([
              ["a", new Map()],
              ["b", new Map()],
            ]),
          }),
        );

        expect((await ledger.totals()).agents[0].packs).toBe(1);
        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10 });
        expect(await totalsOf(ledger, "b")).toEqual({ enqueued: 10 });
      }),
    );

    it(
      "lists the targets that a pack was fanned out to, but no target that only has fates of its requests",
      on(async ({ ledger }) => {
        await ledger.settle("early", "p1", settlement({ 0: "answered.2xx" }));
        const none = await ledger.fannedOut("p1");
        await ledger.recordFanOut(fannedOut({ targets: new Map([["a", settlement({ 0: "filtered" })]]) }));
        const one = await ledger.fannedOut("p1");
        await ledger.recordFanOut(fannedOut({ targets: new Map([["b", new Map()]]) }));

        expect([none, one]).toEqual([new Set(), new Set(["a"])]);
        expect(await ledger.fannedOut("p1")).toEqual(new Set(["a", "b"]));
        expect(await ledger.fannedOut("p2")).toEqual(new Set());
      }),
    );

    it(
      "counts a fate once if it is noted twice",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "answered.2xx", 9: "answered.5xx" }));
        await ledger.settle("a", "p1", settlement({ 0: "answered.2xx", 1: "answered.2xx", 9: "answered.5xx" }));

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, "answered.2xx": 2, "answered.5xx": 1 });
        expect(settledIndexes(await ledger.sheet("a", "p1"))).toEqual(new Set([0, 1, 9]));
      }),
    );

    it(
      "keeps the first fate of a request",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "answered.2xx" }));
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered" }));

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, "answered.2xx": 1 });
      }),
    );

    it(
      "accepts a fate before the fan-out is recorded",
      on(async ({ ledger }) => {
        await ledger.settle("a", "p1", settlement({ 2: "answered.2xx" }));
        await ledger.recordFanOut(fannedOut({ requests: 10 }));

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, "answered.2xx": 1 });
        expect(settledIndexes(await ledger.sheet("a", "p1"))).toEqual(new Set([2]));
      }),
    );

    it(
      "keeps the fates of packs and targets apart",
      on(async ({ ledger }) => {
        await ledger.settle("a", "p1", settlement({ 0: "expired" }));
        await ledger.settle("a", "p2", settlement({ 0: "expired" }));
        await ledger.settle("b", "p1", settlement({ 1: "skipped" }));

        expect((await totalsOf(ledger, "a")).expired).toBe(2);
        expect(settledIndexes(await ledger.sheet("b", "p1"))).toEqual(new Set([1]));
      }),
    );

    it(
      "counts each request once if many workers settle the same pack",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 150 }));
        const whole = new Map(Array.from({ length: 150 }, (_, i) => [i, "answered.2xx" as const]));

        await Promise.all(Array.from({ length: 10 }, () => ledger.settle("a", "p1", whole)));

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 150, "answered.2xx": 150 });
      }),
    );

    it(
      "withdraws deadLettered for a redrive, so that the request can receive another fate",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "deadLettered" }));

        await ledger.reopen("a", "p1", [0], 1);
        const between = settledIndexes(await ledger.sheet("a", "p1"));
        await ledger.settle("a", "p1", settlement({ 0: "answered.2xx" }), 1);

        expect(between).toEqual(new Set([0, 1]));
        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, deadLettered: 1, "answered.2xx": 1 });
      }),
    );

    it(
      "withdraws deadLettered only from requests that have it",
      on(async ({ ledger }) => {
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered" }));
        await ledger.reopen("a", "p1", [0], 1);
        await ledger.settle("a", "p1", settlement({ 0: "answered.2xx" }), 1);

        await ledger.reopen("a", "p1", [0, 1, 500], 2);
        await ledger.reopen("a", "unknown", [0], 1);

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 4, "answered.2xx": 1 });
        expect(settledIndexes(await ledger.sheet("a", "p1"), 2)).toEqual(new Set([0]));
      }),
    );

    it(
      "ignores the fate of a request that was redriven after that copy of it was sent",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered" }));
        await ledger.reopen("a", "p1", [0], 1);

        await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "answered.2xx" }));

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, "answered.2xx": 1 });
        expect(settledIndexes(await ledger.sheet("a", "p1"), 1)).toEqual(new Set([1]));
      }),
    );

    it(
      "lets the fate of a redriven copy replace deadLettered, even if its redrive has not withdrawn that yet",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "answered.2xx" }));

        await ledger.settle("a", "p1", settlement({ 0: "answered.5xx", 1: "answered.5xx" }), 1);
        await ledger.reopen("a", "p1", [0, 1], 1);

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, "answered.2xx": 1, "answered.5xx": 1 });
      }),
    );

    it(
      "moves requests to another target, which enqueues them, and counts each once",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "deadLettered", 2: "answered.2xx" }));

        await ledger.move("a", "c", "p1", [0, 1, 2, 3], 1);
        await ledger.move("a", "c", "p1", [3, 4], 1);
        await ledger.settle("c", "p1", settlement({ 0: "answered.2xx", 3: "deadLettered" }), 1);
        await ledger.settle("a", "p1", settlement({ 4: "answered.2xx" }));

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, moved: 4, "answered.2xx": 1 });
        // The copy holds a request that was answered meanwhile, too.
        expect(await totalsOf(ledger, "c")).toEqual({ enqueued: 5, deadLettered: 1, "answered.2xx": 1 });
        expect((await ledger.totals()).targets.get("a")?.letters).toBe(0);
      }),
    );

    it(
      "enqueues nothing again at a target that the whole pack was fanned out to",
      on(async ({ ledger }) => {
        const both = new Map([
          ["a", settlement({})],
          ["b", settlement({ 0: "answered.2xx" })],
        ]);
        await ledger.recordFanOut({ ...fannedOut({ requests: 10 }), targets: both });

        await ledger.move("a", "b", "p1", [0, 1], 1);

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, moved: 2 });
        expect(await totalsOf(ledger, "b")).toEqual({ enqueued: 10, "answered.2xx": 1 });
      }),
    );

    it.each([true, false])(
      "lets moved requests come back, if the pack was fanned out to their first target: %s",
      async (isFannedOut) => {
        await on(async ({ ledger }) => {
          if (isFannedOut) await ledger.recordFanOut(fannedOut({ requests: 2 }));
          await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "deadLettered" }));
          await ledger.move("a", "b", "p1", [0, 1], 1);
          await ledger.settle("b", "p1", settlement({ 0: "deadLettered", 1: "deadLettered" }), 1);
          await ledger.move("b", "a", "p1", [0, 1], 2);
          const settled = settledIndexes(await ledger.sheet("a", "p1"), 2);
          await ledger.settle("a", "p1", settlement({ 0: "answered.2xx", 1: "answered.2xx" }), 2);

          expect(settled).toEqual(new Set());
          expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 2, "answered.2xx": 2 });
          expect(await totalsOf(ledger, "b")).toEqual({ enqueued: 2, moved: 2 });
        })();
      },
    );

    it(
      "enqueues a request once that is moved from two targets to a third one",
      on(async ({ ledger }) => {
        const both = new Map(["a", "b"].map((target) => [target, settlement({ 0: "deadLettered" })]));
        await ledger.recordFanOut({ ...fannedOut({ requests: 1 }), targets: both });

        await ledger.move("a", "c", "p1", [0], 1);
        await ledger.settle("c", "p1", settlement({ 0: "answered.2xx" }), 1);
        await ledger.move("b", "c", "p1", [0], 1);

        expect(await totalsOf(ledger, "c")).toEqual({ enqueued: 1, "answered.2xx": 1 });
      }),
    );

    it(
      "enqueues moved requests once, whatever is noted first: their fan-out, their move or their fate",
      on(async ({ ledger }) => {
        await ledger.reopen("c", "p1", [0, 1], 1);
        await ledger.settle("c", "p1", settlement({ 0: "answered.2xx", 1: "deadLettered" }), 1);
        const early = await totalsOf(ledger, "c");
        await ledger.move("a", "c", "p1", [0, 1], 1);
        const moved = await totalsOf(ledger, "a");
        await ledger.recordFanOut(fannedOut({ requests: 10 }));

        expect([early, moved]).toEqual([
          { enqueued: 2, "answered.2xx": 1, deadLettered: 1 },
          { enqueued: 2, moved: 2 },
        ]);
        expect(await totalsOf(ledger, "c")).toEqual(early);
        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, moved: 2 });
      }),
    );

    it(
      "replaces deadLettered by discarded in one step",
      on(async ({ ledger }) => {
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "answered.2xx" }));

        await ledger.settle("a", "p1", settlement({ 0: "discarded", 1: "discarded", 2: "discarded" }), 1);

        expect(await totalsOf(ledger, "a")).toEqual({ enqueued: 10, discarded: 2, "answered.2xx": 1 });
      }),
    );

    it(
      "counts the packs of which requests still wait, at each target that they were fanned out to",
      on(async ({ ledger }) => {
        const waiting = async () => {
          const { targets } = await ledger.totals();
          return ["a", "b"].map((target) => targets.get(target)?.waitingPacks ?? 0);
        };
        const targets = new Map<string, Settlement>([
          ["a", new Map()],
          ["b", settlement({ 0: "filtered", 1: "filtered" })],
        ]);
        for (const pack of ["p1", "p2"]) await ledger.recordFanOut(fannedOut({ pack, requests: 2, targets }));
        const all = await waiting();
        await ledger.settle("a", "p1", settlement({ 0: "answered.2xx" }));
        const half = await waiting();
        await ledger.settle("a", "p1", settlement({ 1: "deadLettered" }));
        const one = await waiting();
        await ledger.reopen("a", "p1", [1], 1);
        const again = await waiting();
        await ledger.settle("a", "p1", settlement({ 1: "answered.2xx" }), 1);
        await ledger.settle("a", "p2", settlement({ 0: "answered.2xx", 1: "expired" }));

        expect([all, half, one, again, await waiting()]).toEqual([
          [2, 0],
          [2, 0],
          [1, 0],
          [2, 0],
          [0, 0],
        ]);
      }),
    );

    it(
      "counts the dead letters that hold requests with the fate deadLettered",
      on(async ({ ledger }) => {
        const letters = async () => (await ledger.totals()).targets.get("a")?.letters;
        await ledger.recordFanOut(fannedOut({ requests: 10 }));
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "deadLettered" }));
        await ledger.settle("a", "p1", settlement({ 2: "deadLettered" }));
        // A second copy of the first letter.
        await ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "deadLettered" }));
        const before = await letters();
        await ledger.reopen("a", "p1", [0, 1], 1);
        const between = await letters();
        await ledger.reopen("a", "p1", [2], 1);

        expect([before, between, await letters()]).toEqual([2, 1, 0]);
      }),
    );
  });
}

/** Fates by index. */
export function settlement(byIndex: Readonly<Record<number, Fate>>): Settlement {
  return new Map(Object.entries(byIndex).map(([index, fate]) => [Number(index), fate]));
}

/** A pack that target `a` gets whole, with overrides. */
export function fannedOut(overrides: Partial<FannedOutPack> = {}): FannedOutPack {
  return { pack: "p1", agent: "edge-1", sequence: 1, requests: 10, targets: new Map([["a", new Map()]]), ...overrides };
}

/** A target's totals, without fates that no request has. */
export async function totalsOf(ledger: Ledger, target: string): Promise<Readonly<Record<string, number>>> {
  const totals = (await ledger.totals()).targets.get(target);
  if (totals === undefined) return {};
  const counted = Object.entries(totals.fates).filter(([, requests]) => requests !== 0);
  return { enqueued: totals.enqueued, ...Object.fromEntries(counted) };
}

const opening: SlotRound = {
  number: 2,
  startUs: 1_790_000_000_000_000,
  endUs: 1_790_000_001_000_000,
  closeUs: 1_790_000_000_600_000,
  seats: 1,
  slotUs: 1e6 / 3,
  firstSlot: 17,
  firstUs: 1_790_000_000_123_457,
};
