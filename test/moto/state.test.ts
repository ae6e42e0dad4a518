import { beforeAll, inject, vi } from "vitest";
import { DynamoDbState, type DynamoDbStateOptions } from "../../relay/state/dynamodb/state.ts";
import { describeJobs } from "../contract/job-contract.ts";
import { describeSharedState } from "../contract/shared-state-contract.ts";
import { describeState } from "../contract/state-contract.ts";
import { startDynamoDb } from "../support/aws/dynamodb.ts";

beforeAll(() => {
  // `startDynamoDb` then creates its table there.
  vi.stubEnv("RELAY_TEST_DYNAMODB_ENDPOINT", inject("motoUrl"));
});

/** Two states on a new table. */
async function open(options: Partial<DynamoDbStateOptions> = {}) {
  const emulator = await startDynamoDb();
  const [one, other] = [1, 2].map(() =>
    DynamoDbState.open({ ...emulator, roundTimeoutMs: 15_000, callTimeoutMs: 15_000, ...options }),
  );
  const close = async () => {
    await Promise.all([one.close(), other.close()]);
    await emulator.stop();
  };
  return { one, other, close };
}

describeState("DynamoDbState on moto", async () => {
  const { one, close } = await open();
  return { rounds: one.rounds, ledger: one.ledger, close };
});

describeSharedState("DynamoDbState on moto", () => open());

describeJobs("DynamoDbState on moto", async () => {
  let nowMs = 0;
  const opened = await open({ now: () => nowMs });
  const setNow = (ms: number) => {
    nowMs = ms;
  };
  return { ...opened, setNow };
});
