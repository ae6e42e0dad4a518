import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { DynamoDbState, type DynamoDbStateOptions } from "../../../relay/state/dynamodb.ts";
import type { Settlement } from "../../../relay/state/port.ts";
import { fannedOut, figuresOf, settlement } from "../../contract/state-contract.ts";
import { type DynamoDbEmulator, startDynamoDb } from "../../support/dynamodb.ts";
import { type CallFate, type DynamoDbCall, DynamoDbProxy } from "../../support/dynamodb-proxy.ts";

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

describe("DynamoDbState: ledger, whoever dies at any call", () => {
  const operations: readonly {
    readonly name: string;
    readonly prepare?: (state: DynamoDbState) => Promise<void>;
    readonly work: (state: DynamoDbState) => Promise<void>;
    readonly expected: Readonly<Record<string, number>>;
  }[] = [
    {
      name: "a fan-out",
      work: (state) => state.recordFanOut(fannedOut({ requests: 10, targets: twoTargets })),
      expected: { agents: 10, "a.enqueued": 10, "b.enqueued": 10, "b.filtered": 1 },
    },
    {
      name: "a settlement",
      prepare: (state) => state.recordFanOut(fannedOut({ requests: 10, targets: twoTargets })),
      work: (state) => state.settle("b", "p1", whole),
      expected: { agents: 10, "a.enqueued": 10, "b.enqueued": 10, "b.filtered": 1, "b.answered.2xx": 9 },
    },
    {
      name: "a settlement of what was never fanned out",
      work: (state) => state.settle("b", "p1", whole),
      expected: { "b.enqueued": 0, "b.answered.2xx": 10 },
    },
    {
      name: "a fate that is taken back",
      prepare: (state) => state.settle("a", "p1", settlement({ 0: "deadLettered", 1: "deadLettered" })),
      work: (state) => state.unsettle("a", "p1", [1], "deadLettered"),
      expected: { "a.enqueued": 0, "a.deadLettered": 1 },
    },
  ];
  const cases = operations.flatMap((operation) => deaths.map((death) => ({ ...operation, death })));

  it.each(cases)("counts $name once, where the call $death", { timeout: 60_000 }, async (operation) => {
    const { prepare, work, expected, death } = operation;
    for (let calls = 0, done = false; !done; calls++) {
      const { open, openMortal } = await start();
      const { state, proxy } = await openMortal();
      await prepare?.(state);
      const before = await flatFigures(open());
      proxy.dieAfter(calls, death);

      done = await work(state).then(
        () => true,
        () => false,
      );

      const other = open();
      expect([before, expected]).toContainEqual(await flatFigures(other));
      await work(other);
      expect(await flatFigures(other)).toEqual(expected);
      proxy.heal();
      // It was not dead, after all.
      await work(state);
      await state.settle("a", "p2", settlement({ 0: "expired" }));
      await state.unsettle("a", "p2", [0], "expired");
      expect(omitNothing(await flatFigures(other))).toEqual(omitNothing(expected));
      const later = open({ now: () => Date.now() + 2 * hourMs });
      await later.fold();
      await later.fold();
      expect(omitNothing(await flatFigures(open()))).toEqual(omitNothing(expected));
      expect(calls).toBeLessThan(20);
    }
  });

  it.each(deaths)("folds each tally once, where the call %s", { timeout: 60_000 }, async (death) => {
    for (let calls = 0, done = false; !done; calls++) {
      const { open, openMortal } = await start();
      const writer = await openMortal();
      await writer.state.recordFanOut(fannedOut({ requests: 10, targets: twoTargets }));
      // It dies between what it announces and what it makes.
      writer.proxy.decide = ({ body }) => (isPageWrite(body) ? "is refused" : "goes through");
      await expect(writer.state.settle("a", "p1", whole)).rejects.toThrow("does not answer");
      const second = open();
      await second.recordFanOut(fannedOut({ pack: "p2", sequence: 2 }));
      await second.settle("b", "p1", whole);
      const before = await flatFigures(open());
      const folder = await openMortal({ now: () => Date.now() + 2 * hourMs });
      folder.proxy.dieAfter(calls, death);

      done = await folder.state.fold().then(
        () => true,
        () => false,
      );

      expect(await flatFigures(open())).toEqual(before);
      const later = open({ now: () => Date.now() + 3 * hourMs });
      await Promise.all([later.fold(), open({ now: () => Date.now() + 3 * hourMs }).fold()]);
      expect(await flatFigures(open())).toEqual(before);
      writer.proxy.heal();
      folder.proxy.heal();
      await Promise.all([writer.state.settle("a", "p1", whole), second.settle("a", "p1", whole)]);
      await folder.state.fold();
      expect(await flatFigures(open())).toEqual({ ...before, "a.answered.2xx": 10 });
      expect(calls).toBeLessThan(40);
    }
  });

  it("counts once what a process does that was frozen for hours in the middle of it, and folded meanwhile", async () => {
    const { open, openMortal } = await start();
    const { state, proxy } = await openMortal();
    await state.recordFanOut(fannedOut({ requests: 10 }));
    const frozen = hold(proxy, ({ body }) => isPageWrite(body));
    const settling = state.settle("a", "p1", whole);
    await frozen.reached;

    const later = open({ now: () => Date.now() + 2 * hourMs });
    await later.fold();
    const meanwhile = await figuresOf(later, "a");
    frozen.release();
    await settling;

    expect(meanwhile).toEqual({ enqueued: 10 });
    expect(await figuresOf(open(), "a")).toEqual({ enqueued: 10, "answered.2xx": 10 });
    expect((await open().figures()).agents[0].packs).toBe(1);
  });

  it("counts what a process does that was idle for hours, and folded meanwhile", async () => {
    const { open } = await start();
    const state = open();
    await state.recordFanOut(fannedOut({ requests: 10 }));
    await open({ now: () => Date.now() + 2 * hourMs }).fold();

    await state.settle("a", "p1", whole);
    await state.recordFanOut(fannedOut({ pack: "p2", requests: 5, sequence: 2 }));

    expect(await figuresOf(open(), "a")).toEqual({ enqueued: 15, "answered.2xx": 10 });
  });
});

describe("DynamoDbState: ledger, shared by many", () => {
  it("counts each request once when many processes settle the same packs", async () => {
    const { open } = await start();
    const states = Array.from({ length: 4 }, () => open({ tallyEveryMs: 5 }));
    const packs = ["p1", "p2", "p3"];

    await Promise.all(
      states.flatMap((state) =>
        packs.flatMap((pack) => [
          state.recordFanOut(fannedOut({ pack, targets: twoTargets })),
          state.settle("a", pack, whole),
          state.settle("b", pack, whole),
          state.unsettle("a", pack, [1, 2], "deadLettered"),
        ]),
      ),
    );

    const { "b.filtered": filtered = 0, "b.answered.2xx": answered = 0, ...rest } = await flatFigures(states[0]);
    expect(rest).toEqual({ agents: 30, "a.enqueued": 30, "a.answered.2xx": 30, "b.enqueued": 30 });
    expect(filtered + answered).toBe(30);
  });

  it("tells exact figures at any time while others record and somebody folds", { timeout: 30_000 }, async () => {
    const { open } = await start();
    const reader = open();
    const folder = open({ now: () => Date.now() + 2 * hourMs });
    let recorded = 0;
    let asked = 0;
    const writing = Promise.all(
      Array.from({ length: 3 }, async (_, writer) => {
        const state = open({ tallyEveryMs: 1 });
        for (let i = 0; i < 25; i++) {
          asked++;
          await state.recordFanOut(fannedOut({ pack: `${writer}-${i}`, requests: 1 }));
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
        const { enqueued = 0 } = await figuresOf(reader, "a");
        expect(enqueued).toBeGreaterThanOrEqual(least);
        expect(enqueued).toBeLessThanOrEqual(asked);
      }
    })();

    await Promise.all([writing, folding, reading]);

    expect(await figuresOf(reader, "a")).toEqual({ enqueued: 75 });
  });

  it("tells figures without a gap where somebody folds while they are read", async () => {
    const { open, openMortal } = await start();
    await open().recordFanOut(fannedOut());
    const { state, proxy } = await openMortal();
    const held = hold(proxy, ({ action }) => action === "Query");
    const reading = figuresOf(state, "a");
    await held.reached;

    await open({ now: () => Date.now() + 2 * hourMs }).fold();
    held.release();

    expect(await reading).toEqual({ enqueued: 10 });
  });

  it("folds a tally once where somebody who began to do so comes back after all is done", async () => {
    const { open, openMortal } = await start();
    const now = () => Date.now() + 2 * hourMs;
    await open().recordFanOut(fannedOut({ pack: "p1" }));
    const { state, proxy } = await openMortal({ now });
    const held = hold(proxy, ({ body }) => body.Key?.pk?.S === "ledger");
    const folding = state.fold();
    await held.reached;

    await open({ now }).fold();
    await open().recordFanOut(fannedOut({ pack: "p2" }));
    await open({ now }).fold();
    held.release();
    await folding;

    expect(await figuresOf(open(), "a")).toEqual({ enqueued: 20 });
  });

  it("folds what was closed at once, and what is in use never", async () => {
    const { open, tallies } = await start();
    const closed = open();
    await closed.recordFanOut(fannedOut({ pack: "p1" }));
    await closed.close();
    const used = open();
    await used.recordFanOut(fannedOut({ pack: "p2", sequence: 2 }));

    await used.fold();

    expect(await tallies()).toBe(1);
    expect(await figuresOf(used, "a")).toEqual({ enqueued: 20 });
  });
});

describe("DynamoDbState: ledger, what it costs", () => {
  it("writes each pack once for its fan-out and once for each settlement, and the sums a few times for all", async () => {
    const { openMortal } = await start();
    const { state, proxy } = await openMortal({ tallyEveryMs: 50 });
    const packs = Array.from({ length: 10 }, (_, i) => `p${i}`);

    await Promise.all(packs.map((pack) => state.recordFanOut(fannedOut({ pack, requests: 150, targets: twoTargets }))));
    const fanOutWrites = proxy.writes;
    await Promise.all(packs.map((pack) => state.settle("a", pack, whole)));
    await Promise.all(packs.map((pack) => state.settle("b", pack, whole)));
    const settleWrites = proxy.writes - fanOutWrites;
    await Promise.all(packs.map((pack) => state.settle("b", pack, whole)));

    // One for the sums.
    expect(fanOutWrites).toBe(11);
    // Pages are read first, and the answers do not come at once: a first write of the sums may not know of all.
    expect(settleWrites).toBeLessThanOrEqual(20 + 4);
    // What is settled already is not written again.
    expect(proxy.writes).toBe(fanOutWrites + settleWrites);
    expect(proxy.calls.filter(({ action }) => action === "GetItem").length).toBe(30);
  });

  it("settles a pack at all targets of a process in one write", async () => {
    const { openMortal } = await start();
    const { state, proxy } = await openMortal();

    await Promise.all(["a", "b", "c", "d"].map((target) => state.settle(target, "p1", whole)));

    expect(proxy.writes).toBe(2);
  });

  it("announces as much at a time as an item can hold well", async () => {
    const { openMortal } = await start();
    const { state, proxy } = await openMortal();
    const packs = Array.from({ length: 500 }, (_, i) => `${i}`.padEnd(200, "-"));

    await Promise.all(packs.map((pack) => state.recordFanOut(fannedOut({ pack, requests: 1 }))));

    const announced = proxy.calls.map(({ body }) => body.ExpressionAttributeValues?.[":announced"]?.S.length ?? 0);
    expect(Math.max(...announced)).toBeLessThan(70_000);
    // Of 250 bytes each: two writes at least, and not many more.
    expect(announced.filter((length) => length > 2).length).toBeGreaterThan(1);
    expect(announced.filter((length) => length > 2).length).toBeLessThan(15);
    expect(await figuresOf(state, "a")).toEqual({ enqueued: 500 });
  });
});

/** A new and empty table. */
async function start() {
  const emulator: DynamoDbEmulator = await startDynamoDb();
  const states: DynamoDbState[] = [];
  onTestFinished(async () => {
    await Promise.all(states.map((state) => state.close()));
    await emulator.stop();
  });
  const open = (options: Partial<DynamoDbStateOptions> = {}): DynamoDbState => {
    const state = DynamoDbState.open({ ...emulator, tallyEveryMs: 0, ...options });
    states.push(state);
    return state;
  };
  const openMortal = async (options: Partial<DynamoDbStateOptions> = {}) => {
    const proxy = await DynamoDbProxy.start(emulator.endpoint);
    return { state: open({ ...options, endpoint: proxy.endpoint }), proxy };
  };
  const tallies = async () => {
    const { state, proxy } = await openMortal();
    await state.figures();
    return proxy.calls.find(({ action }) => action === "Query")?.answer.Count;
  };
  return { open, openMortal, tallies };
}

function isPageWrite(body: DynamoDbCall["body"]): boolean {
  return body.Key?.sk?.S === "page" && body.UpdateExpression !== undefined;
}

/** Holds the calls that fit until they are released. */
function hold(proxy: DynamoDbProxy, fits: (call: DynamoDbCall) => boolean) {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  proxy.decide = async (call) => {
    if (fits(call)) {
      reached.resolve();
      await released.promise;
    }
    return "goes through" as const;
  };
  return { reached: reached.promise, release: () => released.resolve() };
}

/** The figures in one record, without the fates that nothing has. */
async function flatFigures(state: DynamoDbState): Promise<Readonly<Record<string, number>>> {
  const { agents, targets } = await state.figures();
  const flat: Record<string, number> = {};
  for (const { requests } of agents) flat.agents = (flat.agents ?? 0) + requests;
  for (const target of targets.keys()) {
    for (const [name, requests] of Object.entries(await figuresOf(state, target))) flat[`${target}.${name}`] = requests;
  }
  return flat;
}

function omitNothing(figures: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(figures).filter(([, requests]) => requests !== 0));
}
