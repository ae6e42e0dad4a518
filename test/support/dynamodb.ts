import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import dynalite from "dynalite";
import { createStateTable } from "../../relay/state/dynamodb-table.ts";

export interface DynamoDbEmulator {
  readonly endpoint: string;
  readonly region: string;
  /** A new and empty table. */
  readonly table: string;
  stop(): Promise<void>;
}

/**
 * Starts dynalite with an empty table; where RELAY_TEST_DYNAMODB_ENDPOINT is set, creates the table there instead. Whoever
 * uses it needs some AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
 */
export async function startDynamoDb(): Promise<DynamoDbEmulator> {
  const region = "us-east-1";
  const table = `spoa-relay-${randomUUID()}`;
  const { endpoint, stop } = await startEndpoint();
  const client = new DynamoDBClient({
    endpoint,
    region,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  try {
    await createStateTable(client, table);
  } finally {
    client.destroy();
  }
  return { endpoint, region, table, stop };
}

async function startEndpoint(): Promise<Pick<DynamoDbEmulator, "endpoint" | "stop">> {
  const given = process.env.RELAY_TEST_DYNAMODB_ENDPOINT;
  if (given) return { endpoint: given, stop: async () => {} };
  const server = dynalite({ createTableMs: 0 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
