import { beforeEach, describe, expect, it, vi } from "vitest";
import { DynamoDbState } from "../../../../relay/state/dynamodb/state.ts";
import { settledIndexes } from "../../../../relay/state/fate-sheet.ts";
import type { Ledger } from "../../../../relay/state/port.ts";
import { toNextRound, toOpenedRound } from "../../../../relay/state/slot-round.ts";
import { describeEndedRuns } from "../../../contract/ended-runs-contract.ts";
import { describeJobs } from "../../../contract/job-contract.ts";
import { describeSharedState } from "../../../contract/shared-state-contract.ts";
import { describeState, fannedOut, settlement } from "../../../contract/state-contract.ts";
import { startDynamoDb } from "../../../support/aws/dynamodb.ts";
import { type CallFate, DynamoDbProxy, refusal } from "../../../support/aws/dynamodb-proxy.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";
import { groupedId, inOneGroup } from "../../../support/data/pack-groups.ts";
import { freePorts } from "../../../support/servers/free-ports.ts";

// The emulator is slow on a busy machine.
const generousTimeouts = { roundTimeoutMs: 15_000, callTimeoutMs: 15_000 };

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe.each([
  ["packs of their own", (ledger: Ledger) => ledger],
  ["packs of one group", inOneGroup],
])("with %s", (_, wrap) => {
  describeState("DynamoDbState", async () => {
    const emulator = await startDynamoDb();
    const state = DynamoDbState.open({ ...emulator, ...generousTimeouts });
    const close = async () => {
      await state.close();
      await emulator.stop();
    };
    return { rounds: state.rounds, ledger: wrap(state.ledger), close };
  });
});

describeSharedState("DynamoDbState", async () => {
  const emulator = await startDynamoDb();
  const one = DynamoDbState.open({ ...emulator, ...generousTimeouts });
  const other = DynamoDbState.open({ ...emulator, ...generousTimeouts });
  const close = async () => {
    await Promise.all([one.close(), other.close()]);
    await emulator.stop();
  };
  return { one, other, close };
});

async function openTwo() {
  const emulator = await startDynamoDb();
  let nowMs = 0;
  const options = { ...emulator, ...generousTimeouts, now: () => nowMs };
  const [one, other] = [DynamoDbState.open(options), DynamoDbState.open(options)];
  const setNow = (ms: number) => {
    nowMs = ms;
  };
  const close = async () => {
    await Promise.all([one.close(), other.close()]);
    await emulator.stop();
  };
  return { one, other, setNow, close };
}

describeJobs("DynamoDbState", openTwo);

describeEndedRuns("DynamoDbState", openTwo);

describe("DynamoDbState: a lost answer", () => {
  it("does not make a written control look as if another process had written it", async () => {
    const { state, proxy } = await (await startStates()).openThroughProxy();
    const fates: CallFate[] = ["loses the answer"];
    proxy.decide = () => fates.shift() ?? "goes through";

    expect(await state.controls.write("a", { settings: { concurrency: 3 } }, 0)).toBe(true);

    expect((await state.controls.read("a")).control).toEqual({ settings: { concurrency: 3 } });
  });

  it("does not make figures count twice, whether the client or the caller repeats the call", async () => {
    const { state, proxy } = await (await startStates()).openThroughProxy();
    const fates: CallFate[] = ["loses the answer", "loses the answer"];
    proxy.decide = () => fates.shift() ?? "goes through";
    const add = (number: number) => state.figures.add("a", 60_000, new Map([["sent", 5]]), { writer: "w", number });

    await expect(add(1)).rejects.toMatchObject({ name: "StateError" });
    await add(1);
    await add(2);
    fates.push("loses the answer");
    await add(3);

    const counts = new Map([["sent", 15]]);
    expect(await state.figures.read("a", 0, 120_000)).toEqual([{ minuteMs: 60_000, counts }]);
  });
});

describe("DynamoDbState: packs of a group", () => {
  it("have places of their own, even those that no agent uses", async () => {
    const { open } = await startStates();
    const { ledger } = open();
    const [first] = [groupedId("edge-1", 0).toString("hex").slice(0, 30)];
    const packs = ["00", "0a", "1a", "3f", "40", "ff"].map((slot) => first + slot);

    await Promise.all(packs.map((pack, i) => ledger.recordFanOut(fannedOut({ pack, requests: i + 1 }))));
    await ledger.settle("a", packs[5], settlement({ 5: "answered.2xx" }));

    const sheets = await Promise.all(packs.map((pack) => open().ledger.sheet("a", pack)));
    expect(sheets.map((sheet) => sheet.length)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(settledIndexes(sheets[5])).toEqual(new Set([5]));
    expect(settledIndexes(sheets[0])).toEqual(new Set());
  });
});

describe("DynamoDbState: figures", () => {
  it("of all times are read as they were written, and those of an older version too", async () => {
    const { open, table } = await startStates();
    const names = ["l", "f", "c", "a"].flatMap((series) => Array.from({ length: 50 }, (_, i) => `${series}${i * 6}`));
    const counts = new Map([...names, "a399", "l400", "l007", "pk", "w.x"].map((name, i) => [name, i + 1]));
    const entries = [...counts];
    await open().figures.add("a", 0, new Map(entries.slice(0, 150)));
    await open().figures.add("a", 0, new Map(entries.slice(150)));
    await table.put({ pk: { S: "minute#a" }, sk: { S: new Date(60_000).toISOString() }, "n.l42": { N: "7" } });

    const [first, older] = await open().figures.read("a", 0, 120_000);

    expect(new Map([...first.counts].sort())).toEqual(new Map(entries.sort()));
    expect(older.counts).toEqual(new Map([["l42", 7]]));
  });
});

describe("DynamoDbState: a failed condition", () => {
  it("is resolved with the item in the answer, without reading it again", async () => {
    const { state, proxy } = await (await startStates()).openThroughProxy();
    const round = toOpenedRound(undefined, 1_000, 1_790_000_000_000_000, 0);
    const numbers = Object.entries({ ...round, entered: 3 }).map(([name, number]) => [name, { N: `${number}` }]);
    const Item = { ...Object.fromEntries(numbers), closedBy: { S: "another worker" } };
    proxy.decide = () => refusal(400, "ConditionalCheckFailedException", { Item });

    const closed = await state.rounds.close("a", round, toNextRound(round, 1_000, 0, 0), true);

    expect(closed).toEqual({ written: false, table: { round, entered: 3 } });
    expect(proxy.calls.map(({ action }) => action)).toEqual(["UpdateItem"]);
    expect(proxy.calls[0].body.ReturnValuesOnConditionCheckFailure).toBe("ALL_OLD");
  });
});

describe("DynamoDbState: errors", () => {
  const answers: readonly (readonly [string, CallFate, RegExp])[] = [
    ["throttling", refusal(400, "ThrottlingException"), /throttles table t/],
    ["too little capacity", refusal(400, "ProvisionedThroughputExceededException"), /throttles table t/],
    ["500", refusal(500, "InternalServerError"), /dynamodb:GetItem on table t failed.*HTTP 500/],
    [
      "no access",
      refusal(400, "AccessDeniedException"),
      /are not allowed to call dynamodb:GetItem on table t: allow it/,
    ],
    [
      "403 of a proxy",
      (to) => to.writeHead(403).end("<html>no"),
      /are not allowed to call dynamodb:GetItem on table t/,
    ],
    ["unknown key", refusal(400, "UnrecognizedClientException"), /check AWS_ACCESS_KEY_ID/],
    ["old token", refusal(400, "ExpiredTokenException"), /expired: renew/],
    ["wrong secret", refusal(400, "InvalidSignatureException"), /AWS_SECRET_ACCESS_KEY and the clock/],
    ["no such table", refusal(400, "ResourceNotFoundException"), /there is no table t in us-east-1: create it/],
    ["another table", refusal(400, "ValidationException"), /table t is not a spoa-relay table/],
    ["200 of a proxy", (to) => to.writeHead(200).end("<html>welcome"), /dynamodb:GetItem on table t failed/],
    ["a reset", "is refused", /DynamoDB in us-east-1 does not answer: check the network/],
    ["no answer at all", () => {}, /does not answer.*no answer within 3000 ms/],
    ["half an answer", (to) => to.writeHead(200, { "content-length": "9" }).write("{"), /no answer within 3000 ms/],
  ];

  it.concurrent.each(answers)("say what to do: %s", async (_, fate, text) => {
    const proxy = await DynamoDbProxy.start();
    proxy.decide = () => fate;
    const silent = text.source.includes("no answer within");
    // Only calls without an answer have a short timeout: a slow machine takes long to answer.
    const callTimeoutMs = silent ? 3_000 : 30_000;
    const state = DynamoDbState.open({ table: "t", region: "us-east-1", endpoint: proxy.endpoint, callTimeoutMs });

    await expect(state.ledger.sheet("a", "p1")).rejects.toMatchObject({
      name: "StateError",
      code: "STATE_UNAVAILABLE",
      message: expect.stringMatching(text),
    });
    // The timeout covers all attempts together.
    if (silent) expect(proxy.calls.length).toBe(1);
    await state.close();
  });

  it("name the refused connection, for every method", async () => {
    const [port] = await freePorts(1);
    const state = DynamoDbState.open({ table: "t", region: "us-east-1", endpoint: `http://127.0.0.1:${port}` });
    const asked = [
      state.rounds.read("a"),
      state.rounds.enter("a"),
      state.ledger.settle("a", "p1", new Map([[0, "expired"]])),
      state.ledger.totals(),
      state.fold(),
      state.controls.read("a"),
      state.controls.write("a", {}, 0),
      state.figures.add("a", 0, new Map([["sent", 1]])),
      state.figures.read("a", 0, 1),
    ];

    for (const { status, reason } of (await Promise.allSettled(asked)) as PromiseRejectedResult[]) {
      expect(status).toBe("rejected");
      expect(reason).toMatchObject({ name: "StateError", message: expect.stringContaining("ECONNREFUSED") });
    }
    await state.close();
  });

  it("name the missing credentials", async () => {
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"]) vi.stubEnv(name, undefined);
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    vi.stubEnv("AWS_CONFIG_FILE", "/nonexistent");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    const { state } = await (await startStates()).openThroughProxy();

    await expect(state.controls.read("a")).rejects.toThrow("AWS_PROFILE");
  });

  it("do not occur with an endpoint from the environment", async () => {
    const emulator = await startDynamoDb();
    vi.stubEnv("AWS_ENDPOINT_URL_DYNAMODB", emulator.endpoint);
    const state = DynamoDbState.open({ table: emulator.table, region: emulator.region });

    expect(await state.controls.write("a", {}, 0)).toBe(true);

    await state.close();
    await emulator.stop();
  });
});
