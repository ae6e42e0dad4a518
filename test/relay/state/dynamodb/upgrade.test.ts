import { beforeEach, describe, expect, it, vi } from "vitest";
import { settledIndexes } from "../../../../relay/state/fate-sheet.ts";
import { fannedOut, settlement, totalsOf } from "../../../contract/state-contract.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";

const hourMs = 3_600_000;
const pack = "00112233445566778899aabbccddeeff";
const writer = "-j0gUMSr3L-2";

/** What version 0.1 before the split of the tallies has written: a pack was fanned out, and one of its requests answered. */
const oldPage = {
  pk: { S: `pack#${pack}` },
  sk: { S: "page" },
  expiresAt: { N: "4102444800" },
  [`marks#${writer}`]: { S: "1 2" },
  arrived: { BOOL: true },
  "share#a": { B: Buffer.from("0100000002010400", "hex") },
};
const oldTally = {
  pk: { S: "tally" },
  sk: { S: writer },
  generation: { N: "2" },
  writtenAtMs: { N: "1796086627455" },
  ended: { BOOL: false },
  sums: { S: '{"a":{"edge-1~0badcafe":[1,3,1]},"t":{"a":[3,{"waitingPacks":1,"filtered":1}]}}' },
  announced: { S: `[[2,"${pack}",{"t":{"a":[0,{"answered.2xx":1}]}}]]` },
};
const oldBase = {
  pk: { S: "ledger" },
  sk: { S: "base" },
  generation: { S: "g" },
  sums: { S: '{"a":{"edge-0~1":[7,70,7]},"t":{"a":[70,{"answered.5xx":70}]}}' },
  folded: { S: "" },
};

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

async function startWithOldItems() {
  const states = await startStates();
  for (const item of [oldPage, oldTally, oldBase]) await states.table.put(item);
  return states;
}

describe("DynamoDbState: a table that the version before wrote", () => {
  const sums = { enqueued: 73, filtered: 1, "answered.2xx": 1, "answered.5xx": 70 };
  const rest = settlement({ 0: "answered.2xx", 1: "answered.2xx", 2: "answered.4xx" });

  it("keeps its sums and its fates", async () => {
    const { open } = await startWithOldItems();
    const { ledger } = open();

    expect(await totalsOf(ledger, "a")).toEqual(sums);
    expect((await ledger.totals()).agents.map(({ agent, packs }) => [agent, packs])).toEqual([
      ["edge-0~1", 7],
      ["edge-1~0badcafe", 1],
    ]);
    expect(settledIndexes(await ledger.sheet("a", pack))).toEqual(new Set([0, 1]));
    expect(await ledger.fannedOut(pack)).toEqual(new Set(["a"]));
  });

  it("counts what is recorded again once, and the rest of the pack", async () => {
    const { open } = await startWithOldItems();
    const { ledger } = open();

    await ledger.recordFanOut(fannedOut({ pack, agent: "edge-1~0badcafe", requests: 3 }));
    await ledger.settle("a", pack, rest);

    expect(await totalsOf(ledger, "a")).toEqual({ ...sums, "answered.4xx": 1 });
    expect((await ledger.totals()).targets.get("a")?.waitingPacks).toBe(0);
  });

  it("has the same sums after its tallies are folded, by two processes at once", async () => {
    const { open } = await startWithOldItems();
    const later = () => Date.parse("2026-12-02") + 2 * hourMs;
    await open().ledger.settle("a", pack, rest);

    await Promise.all([open({ now: later }).fold(), open({ now: later }).fold()]);

    expect(await totalsOf(open().ledger, "a")).toEqual({ ...sums, "answered.4xx": 1 });
  });

  it("gets packs of older agents in the form that processes of the version before read and write", async () => {
    const { open, table } = await startStates();
    const { ledger } = open();

    await ledger.recordFanOut(
      fannedOut({ pack, requests: 3, targets: new Map([["a", settlement({ 0: "filtered" })]]) }),
    );
    await ledger.settle("a", pack, settlement({ 1: "answered.2xx" }));

    const item = (await table.get({ pk: `pack#${pack}`, sk: "page" })) ?? {};
    expect(Object.keys(item).map((name) => name.replace(/^marks#.{8}$/, "marks#"))).toEqual(
      expect.arrayContaining(["arrived", "share#a", "marks#"]),
    );
    expect(Object.keys(item).length).toBe(Object.keys(oldPage).length);
    expect(Buffer.from(item["share#a"].B ?? [])).toEqual(oldPage["share#a"].B);
  });
});

describe("DynamoDbState: tallies", () => {
  it("are in many partitions", async () => {
    const { open, openThroughProxy } = await startStates();
    for (let i = 0; i < 20; i++) await open().ledger.recordFanOut(fannedOut({ pack: `${i}`, requests: 1 }));
    const { state, proxy } = await openThroughProxy();

    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 20 });

    const counts = proxy.calls.flatMap(({ action, answer }) => (action === "Query" ? [Number(answer.Count)] : []));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(20);
    expect(Math.max(...counts)).toBeLessThan(10);
  });

  it("of a process are given up and folded when they have many names", { timeout: 60_000 }, async () => {
    const { openThroughProxy, open } = await startStates();
    const { state, proxy } = await openThroughProxy();
    for (let round = 0; round < 40; round++) {
      const names = Array.from({ length: 15 }, (_, i) => `run-${round}-${i}~0badcafe`);
      await Promise.all(
        names.map((agent) => state.ledger.recordFanOut(fannedOut({ pack: agent, agent, requests: 1 }))),
      );
    }
    const tallies = proxy.calls.filter(({ body }) => String(body.Key?.pk.S).startsWith("tally#"));
    const bytes = tallies.map(({ body }) => body.ExpressionAttributeValues[":sums"].S.length);
    expect(Math.max(...bytes)).toBeLessThan(8_000);
    expect(new Set(tallies.map(({ body }) => body.Key.sk.S)).size).toBeGreaterThan(1);
    await open().fold();

    const { agents: found } = await open().ledger.totals();
    expect(found.length).toBe(600);
    expect(found.reduce((sum, { requests }) => sum + requests, 0)).toBe(600);
  });
});
