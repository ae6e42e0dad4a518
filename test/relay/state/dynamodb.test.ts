import { beforeEach, vi } from "vitest";
import { DynamoDbState } from "../../../relay/state/dynamodb.ts";
import { describeSharedState } from "../../contract/shared-state-contract.ts";
import { describeState } from "../../contract/state-contract.ts";
import { startDynamoDb } from "../../support/dynamodb.ts";

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describeState("DynamoDbState", async () => {
  const emulator = await startDynamoDb();
  const state = DynamoDbState.open(emulator);
  const close = async () => {
    await state.close();
    await emulator.stop();
  };
  return { leases: state, ledger: state, close };
});

describeSharedState("DynamoDbState", async () => {
  const emulator = await startDynamoDb();
  const one = DynamoDbState.open(emulator);
  const other = DynamoDbState.open(emulator);
  const close = async () => {
    await Promise.all([one.close(), other.close()]);
    await emulator.stop();
  };
  return { one, other, close };
});
