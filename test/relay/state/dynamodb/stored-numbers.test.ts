import { beforeEach, vi } from "vitest";
import { jobsPartition, targetPartition } from "../../../../relay/state/dynamodb/keys.ts";
import { describeStoredNumbers } from "../../../contract/stored-numbers-contract.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describeStoredNumbers("DynamoDbState", async () => {
  const { open, table } = await startStates();
  return {
    state: open(),
    putControl: (target, json) =>
      table.put({
        pk: { S: targetPartition(target) },
        sk: { S: "control" },
        version: { N: "1" },
        control: { S: json },
      }),
    putRound: (target, round) =>
      table.put({
        pk: { S: targetPartition(target) },
        sk: { S: "round" },
        ...Object.fromEntries(Object.entries(round).map(([name, text]) => [name, { N: text }])),
      }),
    putJob: (id, json) => table.put({ pk: { S: jobsPartition }, sk: { S: id }, version: { N: "1" }, job: { S: json } }),
    // The states are closed at the end of the test.
    close: () => {},
  };
});
