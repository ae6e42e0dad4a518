import { beforeEach, describe, expect, it, vi } from "vitest";
import type { DynamoDbState } from "../../../../relay/state/dynamodb/state.ts";
import type { Settlement } from "../../../../relay/state/port.ts";
import { fannedOut, settlement, totalsOf } from "../../../contract/state-contract.ts";
import type { CallFate, DynamoDbCall } from "../../../support/aws/dynamodb-proxy.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";
import { groupedId } from "../../../support/data/pack-groups.ts";

const hourMs = 3_600_000;
const twoTargets = new Map<string, Settlement>([
  ["a", new Map()],
  ["b", settlement({ 0: "filtered" })],
]);
const deaths: readonly CallFate[] = ["is refused", "loses the answer"];
const whole = new Map(Array.from({ length: 10 }, (_, i) => [i, "answered.2xx" as const]));

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("DynamoDbState: a process that dies at any call", () => {
  const operations: {
    readonly name: string;
    readonly prepare?: (state: DynamoDbState) => Promise<void>;
    readonly work: (state: DynamoDbState) => Promise<void>;
    readonly expected: Readonly<Record<string, number>>;
  }[] = [
    {
      name: "a fan-out",
      work: (state) => state.ledger.recordFanOut(fannedOut({ requests: 10, targets: twoTargets })),
      expected: { agents: 10, "a.enqueued": 10, "b.enqueued": 10, "b.filtered": 1 },
    },
    {
      name: "a settlement",
      prepare: (state) => state.ledger.recordFanOut(fannedOut({ requests: 10, targets: twoTargets })),
      work: (state) => state.ledger.settle("b", "p1", whole),
      expected: { agents: 10, "a.enqueued": 10, "b.enqueued": 10, "b.filtered": 1, "b.answered.2xx": 9 },
    },
    {
      name: "a settlement of a pack that was never fanned out",
      work: (state) => state.ledger.settle("b", "p1", whole),
      expected: { "b.enqueued": 0, "b.answered.2xx": 10 },
    },
    {
      name: "the withdrawal of a fate",
      prepare: (state) => state.ledger.settle("a", "p1", settlement({ 0: "deadLettered", 1: "deadLettered" })),
      work: (state) => state.ledger.reopen("a", "p1", [1], 1),
      expected: { "a.enqueued": 1, "a.deadLettered": 1 },
    },
  ];
  const grouped = (sequence: number) => groupedId("edge-1", sequence).toString("hex");
  const group = Array.from({ length: 3 }, (_, i) => fannedOut({ pack: grouped(i), sequence: i + 1, requests: 10 }));
  operations.push(
    {
      name: "a fan-out of packs of one group",
      work: async ({ ledger }) => void (await Promise.all(group.map((pack) => ledger.recordFanOut(pack)))),
      expected: { agents: 30, "a.enqueued": 30 },
    },
    {
      name: "a settlement of packs of one group",
      prepare: async ({ ledger }) => void (await Promise.all(group.map((pack) => ledger.recordFanOut(pack)))),
      work: async ({ ledger }) => void (await Promise.all(group.map(({ pack }) => ledger.settle("a", pack, whole)))),
      expected: { agents: 30, "a.enqueued": 30, "a.answered.2xx": 30 },
    },
  );
  const cases = operations.flatMap((operation) => deaths.map((death) => ({ ...operation, death })));

  it.each(cases)("counts $name once, if the call $death", { timeout: 60_000 }, async (operation) => {
    const { prepare, work, expected, death } = operation;
    for (let calls = 0, done = false; !done; calls++) {
      const { open, openThroughProxy } = await startStates();
      const { state, proxy } = await openThroughProxy();
      await prepare?.(state);
      const before = await flatTotals(open());
      proxy.dieAfter(calls, death);

      done = await work(state).then(
        () => true,
        () => false,
      );

      const other = open();
      expect([before, expected]).toContainEqual(await flatTotals(other));
      await work(other);
      expect(await flatTotals(other)).toEqual(expected);
      proxy.heal();
      // The process was not dead after all.
      await work(state);
      await state.ledger.settle("a", "p2", settlement({ 0: "deadLettered" }));
      await state.ledger.reopen("a", "p2", [0], 1);
      const after = { ...expected, "a.enqueued": (expected["a.enqueued"] ?? 0) + 1 };
      expect(omitNothing(await flatTotals(other))).toEqual(omitNothing(after));
      const later = open({ now: () => Date.now() + 2 * hourMs });
      await later.fold();
      await later.fold();
      expect(omitNothing(await flatTotals(open()))).toEqual(omitNothing(after));
      expect(calls).toBeLessThan(20);
    }
  });

  it.each(deaths)("folds each tally once, if the call %s", { timeout: 60_000 }, async (death) => {
    for (let calls = 0, done = false; !done; calls++) {
      const { open, openThroughProxy } = await startStates();
      const writer = await openThroughProxy();
      await writer.state.ledger.recordFanOut(fannedOut({ requests: 10, targets: twoTargets }));
      // The writer dies between announcing an operation and making it.
      writer.proxy.decide = ({ body }) => (isPackWrite(body) ? "is refused" : "goes through");
      await expect(writer.state.ledger.settle("a", "p1", whole)).rejects.toThrow("does not answer");
      const second = open();
      await second.ledger.recordFanOut(fannedOut({ pack: "p2", sequence: 2 }));
      await second.ledger.settle("b", "p1", whole);
      const before = await flatTotals(open());
      const folder = await openThroughProxy({ now: () => Date.now() + 2 * hourMs });
      folder.proxy.dieAfter(calls, death);

      done = await folder.state.fold().then(
        () => true,
        () => false,
      );

      expect(await flatTotals(open())).toEqual(before);
      const later = open({ now: () => Date.now() + 3 * hourMs });
      await Promise.all([later.fold(), open({ now: () => Date.now() + 3 * hourMs }).fold()]);
      expect(await flatTotals(open())).toEqual(before);
      writer.proxy.heal();
      folder.proxy.heal();
      await Promise.all([writer.state.ledger.settle("a", "p1", whole), second.ledger.settle("a", "p1", whole)]);
      await folder.state.fold();
      expect(await flatTotals(open())).toEqual({ ...before, "a.answered.2xx": 10 });
      expect(calls).toBeLessThan(40);
    }
  });

  it("counts an operation once if the process was frozen in the middle of it for hours, and its tally was folded meanwhile", async () => {
    const { open, openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();
    await state.ledger.recordFanOut(fannedOut({ requests: 10 }));
    const frozen = proxy.hold(({ body }) => isPackWrite(body));
    const settling = state.ledger.settle("a", "p1", whole);
    await frozen.reached;

    const later = open({ now: () => Date.now() + 2 * hourMs });
    await later.fold();
    const meanwhile = await totalsOf(later.ledger, "a");
    frozen.release();
    await settling;

    expect(meanwhile).toEqual({ enqueued: 10 });
    expect(await totalsOf(open().ledger, "a")).toEqual({ enqueued: 10, "answered.2xx": 10 });
    expect((await open().ledger.totals()).agents[0].packs).toBe(1);
  });

  it("counts the operations of a process that was idle for hours and whose tally was folded meanwhile", async () => {
    const { open } = await startStates();
    const state = open();
    await state.ledger.recordFanOut(fannedOut({ requests: 10 }));
    await open({ now: () => Date.now() + 2 * hourMs }).fold();

    await state.ledger.settle("a", "p1", whole);
    await state.ledger.recordFanOut(fannedOut({ pack: "p2", requests: 5, sequence: 2 }));

    expect(await totalsOf(open().ledger, "a")).toEqual({ enqueued: 15, "answered.2xx": 10 });
  });
});

function isPackWrite(body: DynamoDbCall["body"]): boolean {
  return body.Key?.sk?.S === "page" && body.UpdateExpression !== undefined;
}

/** The totals in one record, without fates that no request has. */
async function flatTotals(state: DynamoDbState): Promise<Readonly<Record<string, number>>> {
  const { agents, targets } = await state.ledger.totals();
  const flat: Record<string, number> = {};
  for (const { requests } of agents) flat.agents = (flat.agents ?? 0) + requests;
  for (const target of targets.keys()) {
    for (const [name, requests] of Object.entries(await totalsOf(state.ledger, target)))
      flat[`${target}.${name}`] = requests;
  }
  return flat;
}

function omitNothing(totals: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(totals).filter(([, requests]) => requests !== 0));
}
