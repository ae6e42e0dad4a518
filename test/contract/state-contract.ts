import { describe, expect, it } from "vitest";
import { settledIndexes } from "../../relay/state/fate-sheet.ts";
import type { FannedOutPack, Fate, Ledger, Settlement, SlotLeases } from "../../relay/state/port.ts";
import { horizonUs, type SlotGrant } from "../../relay/state/slot-lease.ts";

/** An empty state store. */
export interface OpenedState {
  readonly leases: SlotLeases;
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

  describe(`${name}: slot leases`, () => {
    it(
      "start now if the target never had one",
      on(async ({ leases }) => {
        expect(await leases.take("a", { nowUs, slotUs: 10_000, slots: 25 })).toEqual({
          granted: true,
          startUs: nowUs,
        });
      }),
    );

    it(
      "follow each other without a gap and without sharing a slot",
      on(async ({ leases }) => {
        const grants = [];
        for (let i = 0; i < 4; i++)
          grants.push(await leases.take("a", { nowUs: nowUs + i, slotUs: 10_000, slots: 25 }));

        expect(grants.map(startUs)).toEqual([0, 250_000, 500_000, 750_000].map((us) => nowUs + us));
      }),
    );

    it(
      "never share a slot if many ask at once",
      on(async ({ leases }) => {
        const grants = await Promise.all(
          Array.from({ length: 20 }, () => leases.take("a", { nowUs, slotUs: 1_000, slots: 50 })),
        );

        const starts = grants.map(startUs).sort((a, b) => a - b);
        expect(starts).toEqual(Array.from({ length: 20 }, (_, i) => nowUs + i * 50_000));
      }),
    );

    it(
      "are separate for each target",
      on(async ({ leases }) => {
        await leases.take("a", { nowUs, slotUs: 10_000, slots: 25 });

        expect(startUs(await leases.take("b", { nowUs, slotUs: 10_000, slots: 25 }))).toBe(nowUs);
      }),
    );

    it(
      "start now after an idle time, whose slots are lost",
      on(async ({ leases }) => {
        await leases.take("a", { nowUs, slotUs: 10_000, slots: 25 });
        const laterUs = nowUs + 60_000_000;

        expect(startUs(await leases.take("a", { nowUs: laterUs, slotUs: 10_000, slots: 25 }))).toBe(laterUs);
        expect(startUs(await leases.take("a", { nowUs: laterUs, slotUs: 10_000, slots: 25 }))).toBe(laterUs + 250_000);
      }),
    );

    it(
      "are refused beyond the horizon and granted at the given retry time",
      on(async ({ leases }) => {
        const ask = (atUs: number) => leases.take("a", { nowUs: atUs, slotUs: 10_000, slots: 100 });
        let grant = await ask(nowUs);
        let granted = 0;
        for (; grant.granted && granted < 100; granted++) grant = await ask(nowUs);
        if (grant.granted) throw new Error("no lease is ever refused");
        const early = await ask(grant.retryAtUs - 1);
        const inTime = await ask(grant.retryAtUs);

        expect(granted).toBe(horizonUs / 1_000_000 + 1);
        expect(early.granted).toBe(false);
        expect(startUs(inTime)).toBe(nowUs + granted * 1_000_000);
      }),
    );

    it(
      "are granted to a target whose slots are further apart than the horizon",
      on(async ({ leases }) => {
        const ask = (atUs: number) => leases.take("a", { nowUs: atUs, slotUs: 60_000_000, slots: 1 });
        const retryAtUs = nowUs + 60_000_000 - horizonUs;

        expect(startUs(await ask(nowUs))).toBe(nowUs);
        expect(await ask(nowUs)).toEqual({ granted: false, retryAtUs });
        expect(startUs(await ask(retryAtUs))).toBe(nowUs + 60_000_000);
      }),
    );

    it(
      "apply a changed rate after the slots that are already granted",
      on(async ({ leases }) => {
        await leases.take("a", { nowUs, slotUs: 10_000, slots: 25 });
        const first = await leases.take("a", { nowUs, slotUs: 1_000, slots: 250 });
        const second = await leases.take("a", { nowUs, slotUs: 1_000, slots: 250 });

        expect([startUs(first), startUs(second)]).toEqual([nowUs + 250_000, nowUs + 500_000]);
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

const nowUs = 1_790_000_000_000_000;

function startUs(grant: SlotGrant): number {
  if (!grant.granted) throw new Error(`not granted until ${grant.retryAtUs}`);
  return grant.startUs;
}
