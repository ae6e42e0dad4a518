import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { DeleteTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import dynalite from "dynalite";
import { createStateTable } from "../../../relay/state/dynamodb/table-shape.ts";

export interface DynamoDbEmulator {
  readonly endpoint: string;
  readonly region: string;
  /** The name of a new, empty table. */
  readonly table: string;
  stop(): Promise<void>;
}

/**
 * Starts dynalite with an empty table. If RELAY_TEST_DYNAMODB_ENDPOINT is set, creates the table there instead. Clients need
 * any AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
 */
export async function startDynamoDb(): Promise<DynamoDbEmulator> {
  const region = "us-east-1";
  const table = `spoa-relay-${randomUUID()}`;
  const { endpoint, shared, close } = await startEndpoint();
  const client = new DynamoDBClient({
    endpoint,
    region,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  await createStateTable(client, table);
  const stop = async () => {
    if (shared) await client.send(new DeleteTableCommand({ TableName: table }));
    client.destroy();
    await close();
  };
  return { endpoint, region, table, stop };
}

interface Endpoint {
  readonly endpoint: string;
  /** True if the endpoint outlives the test, so that its tables must be deleted. */
  readonly shared: boolean;
  close(): Promise<void>;
}

async function startEndpoint(): Promise<Endpoint> {
  const given = process.env.RELAY_TEST_DYNAMODB_ENDPOINT;
  if (given) return { endpoint: given, shared: true, close: async () => {} };
  const server = dynalite({ createTableMs: 0 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    shared: false,
    // Waits for calls in progress: otherwise they would use a closed database.
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
