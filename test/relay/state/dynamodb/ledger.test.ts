import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Settlement } from "../../../../relay/state/port.ts";
import { fannedOut, settlement, totalsOf } from "../../../contract/state-contract.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";

const hourMs = 3_600_000;
const twoTargets = new Map<string, Settlement>([
  ["a", new Map()],
  ["b", settlement({ 0: "filtered" })],
]);
const whole = new Map(Array.from({ length: 10 }, (_, i) => [i, "answered.2xx" as const]));

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("DynamoDbState: ledger, shared by many", () => {
  it("counts each request once when many processes settle the same packs", async () => {
    const { open } = await startStates();
    const states = Array.from({ length: 4 }, () => open({ tallyEveryMs: 5 }));
    const packs = ["p1", "p2", "p3"];

    await Promise.all(
      states.flatMap((state) =>
        packs.flatMap((pack) => [
          state.ledger.recordFanOut(fannedOut({ pack, targets: twoTargets })),
          state.ledger.settle("a", pack, whole),
          state.ledger.settle("b", pack, whole),
          state.ledger.unsettle("a", pack, [1, 2], "deadLettered"),
        ]),
      ),
    );

    const [a, b] = await Promise.all(["a", "b"].map((target) => totalsOf(states[0].ledger, target)));
    expect(a).toEqual({ enqueued: 30, "answered.2xx": 30 });
    // Whichever came first.
    expect(b.enqueued).toBe(30);
    expect((b.filtered ?? 0) + b["answered.2xx"]).toBe(30);
    expect((await states[0].ledger.totals()).agents).toMatchObject([{ packs: 3, requests: 30 }]);
  });

  it("goes on when a process has met more names than an item can hold", { timeout: 60_000 }, async () => {
    const { open } = await startStates();
    const state = open();
    // Names of jobs and of runs of agents, which are shorter and more.
    const agents = Array.from({ length: 50 }, (_, i) => `${i}-${"x".repeat(10_000)}`);
    for (const agent of agents) {
      const targets = new Map([[agent.slice(0, 5_000), whole]]);
      await state.ledger.recordFanOut(fannedOut({ pack: agent.slice(0, 20), agent, targets }));
    }

    const totals = await state.ledger.totals();
    expect(totals.agents.length).toBe(50);
    expect([...totals.targets.values()].map(({ fates }) => fates["answered.2xx"])).toEqual(agents.map(() => 10));
  });

  it("tells exact totals at any time while others record and somebody folds", { timeout: 30_000 }, async () => {
    const { open } = await startStates();
    const reader = open();
    const folder = open({ now: () => Date.now() + 2 * hourMs });
    let recorded = 0;
    let asked = 0;
    const writing = Promise.all(
      Array.from({ length: 3 }, async (_, writer) => {
        const state = open({ tallyEveryMs: 1 });
        for (let i = 0; i < 25; i++) {
          asked++;
          await state.ledger.recordFanOut(fannedOut({ pack: `${writer}-${i}`, requests: 1 }));
          recorded++;
        }
      }),
    );
    const folding = (async () => {
      for (let i = 0; i < 10; i++) await folder.fold();
    })();
    const reading = (async () => {
      while (recorded < 75) {
        const least = recorded;
        const { enqueued = 0 } = await totalsOf(reader.ledger, "a");
        expect(enqueued).toBeGreaterThanOrEqual(least);
        expect(enqueued).toBeLessThanOrEqual(asked);
      }
    })();

    await Promise.all([writing, folding, reading]);

    expect(await totalsOf(reader.ledger, "a")).toEqual({ enqueued: 75 });
  });

  it("tells totals without a gap if somebody folds while they are read", async () => {
    const { open, openThroughProxy } = await startStates();
    await open().ledger.recordFanOut(fannedOut());
    const { state, proxy } = await openThroughProxy();
    const held = proxy.hold(({ action }) => action === "Query");
    const reading = totalsOf(state.ledger, "a");
    await held.reached;

    await open({ now: () => Date.now() + 2 * hourMs }).fold();
    held.release();

    expect(await reading).toEqual({ enqueued: 10 });
  });

  it("folds a tally once where somebody who began to do so comes back after all is done", async () => {
    const { open, openThroughProxy } = await startStates();
    const now = () => Date.now() + 2 * hourMs;
    await open().ledger.recordFanOut(fannedOut({ pack: "p1" }));
    const { state, proxy } = await openThroughProxy({ now });
    const held = proxy.hold(({ body }) => body.Key?.pk?.S === "ledger");
    const folding = state.fold();
    await held.reached;

    await open({ now }).fold();
    await open().ledger.recordFanOut(fannedOut({ pack: "p2" }));
    await open({ now }).fold();
    held.release();
    await folding;

    expect(await totalsOf(open().ledger, "a")).toEqual({ enqueued: 20 });
  });

  it("folds what was closed at once, and what is in use never", async () => {
    const { open, openThroughProxy } = await startStates();
    const closed = open();
    await closed.ledger.recordFanOut(fannedOut({ pack: "p1" }));
    await closed.close();
    const used = open();
    await used.ledger.recordFanOut(fannedOut({ pack: "p2", sequence: 2 }));

    await used.fold();

    const { state, proxy } = await openThroughProxy();
    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 20 });
    expect(proxy.calls.find(({ action }) => action === "Query")?.answer.Count).toBe(1);
  });
});

describe("DynamoDbState: ledger, what it costs", () => {
  it("writes each pack once for its fan-out and once for each settlement, and the sums a few times for all", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy({ tallyEveryMs: 1_000 });
    const packs = Array.from({ length: 10 }, (_, i) => `p${i}`);

    await Promise.all(
      packs.map((pack) => state.ledger.recordFanOut(fannedOut({ pack, requests: 150, targets: twoTargets }))),
    );
    const fanOutWrites = proxy.writes;
    // Pages are read first: what is announced in the second until the next write of the sums takes part in it.
    await Promise.all(packs.map((pack) => state.ledger.settle("a", pack, whole)));
    await Promise.all(packs.map((pack) => state.ledger.settle("b", pack, whole)));
    const settleWrites = proxy.writes - fanOutWrites;
    await Promise.all(packs.map((pack) => state.ledger.settle("b", pack, whole)));

    // One for the sums.
    expect(fanOutWrites).toBe(11);
    // Answers of a machine that stands still for a moment do not come at once.
    expect(settleWrites).toBeLessThanOrEqual(20 + 4);
    // What is settled already is not written again.
    expect(proxy.writes).toBe(fanOutWrites + settleWrites);
    expect(proxy.calls.filter(({ action }) => action === "GetItem").length).toBe(30);
  });

  it("settles a pack at all targets of a process in one write", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();

    await Promise.all(["a", "b", "c", "d"].map((target) => state.ledger.settle(target, "p1", whole)));

    expect(proxy.writes).toBe(2);
  });

  it("announces as much at a time as an item can hold well", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();
    const packs = Array.from({ length: 500 }, (_, i) => `${i}`.padEnd(200, "-"));

    await Promise.all(packs.map((pack) => state.ledger.recordFanOut(fannedOut({ pack, requests: 1 }))));

    const announced = proxy.calls.map(({ body }) => body.ExpressionAttributeValues?.[":announced"]?.S.length ?? 0);
    expect(Math.max(...announced)).toBeLessThan(70_000);
    // Of 250 bytes each: two writes at least, and not many more.
    expect(announced.filter((length) => length > 2).length).toBeGreaterThan(1);
    expect(announced.filter((length) => length > 2).length).toBeLessThan(15);
    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 500 });
  });
});
