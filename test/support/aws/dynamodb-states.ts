import { type AttributeValue, DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { onTestFinished } from "vitest";
import { DynamoDbState, type DynamoDbStateOptions } from "../../../relay/state/dynamodb/state.ts";
import type { ItemKey } from "../../../relay/state/dynamodb/table-client.ts";
import { startDynamoDb } from "./dynamodb.ts";
import { DynamoDbProxy } from "./dynamodb-proxy.ts";

/** A new, empty table, on which a test can open any number of states. */
export async function startStates() {
  const emulator = await startDynamoDb();
  const states: DynamoDbState[] = [];
  onTestFinished(async () => {
    await Promise.all(states.map((state) => state.close()));
    await emulator.stop();
  });
  const open = (options: Partial<DynamoDbStateOptions> = {}): DynamoDbState => {
    // The emulator is slow on a busy machine.
    const inNoHurry = { tallyEveryMs: 5, roundTimeoutMs: 15_000, callTimeoutMs: 15_000 };
    const state = DynamoDbState.open({ ...emulator, ...inNoHurry, ...options });
    states.push(state);
    return state;
  };
  const client = new DynamoDBClient({ ...emulator, credentials: { accessKeyId: "test", secretAccessKey: "test" } });
  onTestFinished(() => client.destroy());
  /** Writes an item as another version of spoa-relay has written it. */
  const put = async (item: Record<string, AttributeValue>) => {
    await client.send(new PutItemCommand({ TableName: emulator.table, Item: item }));
  };
  const get = async ({ pk, sk }: ItemKey) => {
    const Key = { pk: { S: pk }, sk: { S: sk } };
    return (await client.send(new GetItemCommand({ TableName: emulator.table, Key }))).Item;
  };
  const openThroughProxy = async (options: Partial<DynamoDbStateOptions> = {}) => {
    const proxy = await DynamoDbProxy.start(emulator.endpoint);
    return { state: open({ ...options, endpoint: proxy.endpoint }), proxy };
  };
  return { open, openThroughProxy, table: { put, get } };
}
