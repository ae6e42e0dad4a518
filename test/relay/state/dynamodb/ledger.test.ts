import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Settlement } from "../../../../relay/state/port.ts";
import { fannedOut, settlement, totalsOf } from "../../../contract/state-contract.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";
import { groupedId } from "../../../support/data/pack-groups.ts";

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

describe("DynamoDbState: ledger, shared by many processes", () => {
  it("counts each request once if many processes settle the same packs", async () => {
    const { open } = await startStates();
    const states = Array.from({ length: 4 }, () => open({ tallyEveryMs: 5 }));
    const packs = ["p1", "p2", "p3"];

    await Promise.all(
      states.flatMap((state) =>
        packs.flatMap((pack) => [
          state.ledger.recordFanOut(fannedOut({ pack, targets: twoTargets })),
          state.ledger.settle("a", pack, whole),
          state.ledger.settle("b", pack, whole),
          state.ledger.reopen("a", pack, [1, 2], 1),
        ]),
      ),
    );

    const [a, b] = await Promise.all(["a", "b"].map((target) => totalsOf(states[0].ledger, target)));
    expect(a).toEqual({ enqueued: 30, "answered.2xx": 30 });
    // The first fate of request 0 counts.
    expect(b.enqueued).toBe(30);
    expect((b.filtered ?? 0) + b["answered.2xx"]).toBe(30);
    expect((await states[0].ledger.totals()).agents).toMatchObject([{ packs: 3, requests: 30 }]);
  });

  it("continues if a process has seen more names than an item can hold", { timeout: 60_000 }, async () => {
    const { open } = await startStates();
    const state = open();
    // In practice these are more and shorter names: of jobs and of runs of agents.
    const agents = Array.from({ length: 50 }, (_, i) => `${i}-${"x".repeat(10_000)}`);
    for (const agent of agents) {
      const targets = new Map([[agent.slice(0, 5_000), whole]]);
      await state.ledger.recordFanOut(fannedOut({ pack: agent.slice(0, 20), agent, targets }));
    }

    const totals = await state.ledger.totals();
    expect(totals.agents.length).toBe(50);
    expect([...totals.targets.values()].map(({ fates }) => fates["answered.2xx"])).toEqual(agents.map(() => 10));
  });

  it("has exact totals at any time while others record and fold", { timeout: 30_000 }, async () => {
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

  it("has complete totals if another process folds while they are read", async () => {
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

  it("folds a tally once if a process that began to fold it continues after others have finished", async () => {
    const { open, openThroughProxy } = await startStates();
    const now = () => Date.now() + 2 * hourMs;
    await open().ledger.recordFanOut(fannedOut({ pack: "p1" }));
    const { state, proxy } = await openThroughProxy({ now });
    const held = proxy.hold(({ body }) => String(body.Key?.pk?.S).startsWith("ledger#"));
    const folding = state.fold();
    await held.reached;

    await open({ now }).fold();
    await open().ledger.recordFanOut(fannedOut({ pack: "p2" }));
    await open({ now }).fold();
    held.release();
    await folding;

    expect(await totalsOf(open().ledger, "a")).toEqual({ enqueued: 20 });
  });

  it("folds a closed tally at once, and never a tally in use", async () => {
    const { open, openThroughProxy } = await startStates();
    const closed = open();
    await closed.ledger.recordFanOut(fannedOut({ pack: "p1" }));
    await closed.close();
    const used = open();
    await used.ledger.recordFanOut(fannedOut({ pack: "p2", sequence: 2 }));

    await used.fold();

    const { state, proxy } = await openThroughProxy();
    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 20 });
    const tallies = proxy.calls.map(({ action, answer }) => (action === "Query" ? answer.Count : 0));
    expect(tallies.reduce((sum, count) => sum + count, 0)).toBe(1);
  });
});

describe("DynamoDbState: ledger, its writes", () => {
  it("are one per pack for its fan-out, one for each settlement, and a few for the sums of all packs", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy({ tallyEveryMs: 1_000 });
    const packs = Array.from({ length: 10 }, (_, i) => `p${i}`);

    await Promise.all(
      packs.map((pack) => state.ledger.recordFanOut(fannedOut({ pack, requests: 150, targets: twoTargets }))),
    );
    const fanOutWrites = proxy.writes;
    // All operations that are announced in the second before the next write of the sums share that write.
    await Promise.all(packs.map((pack) => state.ledger.settle("a", pack, whole)));
    await Promise.all(packs.map((pack) => state.ledger.settle("b", pack, whole)));
    const settleWrites = proxy.writes - fanOutWrites;
    await Promise.all(packs.map((pack) => state.ledger.settle("b", pack, whole)));

    // One for the sums.
    expect(fanOutWrites).toBe(11);
    // On a machine that stalls for a moment, the answers do not arrive together, so the sums are written more often.
    expect(settleWrites).toBeLessThanOrEqual(20 + 4);
    // Requests that are already settled are not written again.
    expect(proxy.writes).toBe(fanOutWrites + settleWrites);
    // The process knows the items that it has written. Only before it believes that nothing is to be written, it reads them.
    expect(proxy.calls.filter(({ action }) => /^(?:Batch)?GetItem$/.test(action)).length).toBe(1);
  });

  it("are one for all packs of a group that are recorded at the same moment, and each pack is read once", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy({ tallyEveryMs: 200 });
    const packs = Array.from({ length: 20 }, (_, i) => groupedId("edge-1", i).toString("hex"));

    await Promise.all(packs.map((pack, i) => state.ledger.recordFanOut(fannedOut({ pack, sequence: i + 1 }))));
    const fanOutWrites = proxy.writes;
    await Promise.all(packs.map((pack) => state.ledger.sheet("a", pack)));
    await Promise.all(packs.map((pack) => state.ledger.settle("a", pack, whole)));

    expect([fanOutWrites, proxy.writes]).toEqual([2, 4]);
    expect(proxy.calls.filter(({ action }) => /^(?:Batch)?GetItem$/.test(action)).length).toBe(1);
    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 200, "answered.2xx": 200 });
  });

  it("have expressions that DynamoDB accepts, even for a group with many targets", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();
    const targets = new Map(Array.from({ length: 99 }, (_, i) => [`shadow-number-${i}`, new Map()]));
    const packs = Array.from({ length: 4 }, (_, i) => groupedId("edge-1", i).toString("hex"));

    await Promise.all(packs.map((pack) => state.ledger.recordFanOut(fannedOut({ pack, targets }))));
    await Promise.all(
      packs.flatMap((pack) => Array.from(targets.keys(), (target) => state.ledger.settle(target, pack, whole))),
    );

    const lengths = proxy.calls.map(({ body }) => body.ConditionExpression?.length ?? 0);
    expect(Math.max(...lengths)).toBeLessThan(4_096);
    expect(await totalsOf(state.ledger, "shadow-number-98")).toEqual({ enqueued: 40, "answered.2xx": 40 });
  });

  it("settle a pack at all targets of a process at once", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();

    await Promise.all(["a", "b", "c", "d"].map((target) => state.ledger.settle(target, "p1", whole)));

    expect(proxy.writes).toBe(2);
  });

  it("announce no more operations at once than an item can hold", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();
    const packs = Array.from({ length: 500 }, (_, i) => `${i}`.padEnd(200, "-"));

    await Promise.all(packs.map((pack) => state.ledger.recordFanOut(fannedOut({ pack, requests: 1 }))));

    const announced = proxy.calls.map(({ body }) => body.ExpressionAttributeValues?.[":announced"]?.S.length ?? 0);
    expect(Math.max(...announced)).toBeLessThan(70_000);
    // 250 bytes per operation: at least two writes, and not many more.
    expect(announced.filter((length) => length > 2).length).toBeGreaterThan(1);
    expect(announced.filter((length) => length > 2).length).toBeLessThan(15);
    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 500 });
  });
});
