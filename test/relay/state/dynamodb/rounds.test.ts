import { beforeEach, describe, expect, it, vi } from "vitest";
import { toNextRound, toOpenedRound } from "../../../../relay/state/slot-round.ts";
import type { CallFate } from "../../../support/aws/dynamodb-proxy.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";

const round = toOpenedRound(undefined, 1_000, 1_790_000_000_000_000, 0);
const next = toNextRound(round, 1_000, 0, 0);

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("DynamoDbState: slot rounds", () => {
  it("give twelve workers of three processes that enter at once seats of their own", async () => {
    const { open } = await startStates();
    const states = Array.from({ length: 3 }, () => open());
    await states[0].rounds.open("a", undefined, round);

    const tables = await Promise.all(Array.from({ length: 12 }, (_, i) => states[i % 3].rounds.enter("a")));

    const seats = tables.map((table) => table?.entered).sort((a = 0, b = 0) => a - b);
    expect(seats).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  it("cost one write for each seat and each round, and no read", async () => {
    const { state, proxy } = await (await startStates()).openThroughProxy();
    await state.rounds.open("a", undefined, round);
    proxy.calls.length = 0;

    await state.rounds.enter("a");
    await state.rounds.close("a", round, next, true);

    expect(proxy.calls.map(({ action }) => action)).toEqual(["UpdateItem", "UpdateItem"]);
  });

  it("are recognised as closed by the caller if only the answer was lost", async () => {
    const { state, proxy } = await (await startStates()).openThroughProxy();
    await state.rounds.open("a", undefined, round);
    const fates: CallFate[] = ["loses the answer"];
    proxy.decide = () => fates.shift() ?? "goes through";

    const closed = await state.rounds.close("a", round, next, true);

    expect(closed).toEqual({ written: true, table: { round: { ...next, seats: 1 }, entered: 0 } });
    expect(fates).toEqual([]);
  });

  it("fail within their own timeout if DynamoDB stops answering", async () => {
    const { state, proxy } = await (await startStates()).openThroughProxy({ roundTimeoutMs: 300 });
    await state.rounds.open("a", undefined, round);
    proxy.decide = () => new Promise(() => {});
    const startMs = performance.now();

    await expect(state.rounds.enter("a")).rejects.toMatchObject({
      name: "StateError",
      message: expect.stringMatching(/DynamoDB in us-east-1 does not answer: check the network.*within 300 ms/),
    });
    // Other calls have a timeout of 15 seconds.
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });
});
