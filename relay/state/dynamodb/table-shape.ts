import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";

/** The shape of the one table that holds all state. Both keys are strings. */
export const stateTable = {
  partitionKey: "pk",
  sortKey: "sk",
  /** When DynamoDB may delete an item, in seconds since 1970. */
  timeToLive: "expiresAt",
} as const;

/**
 * Creates the table, billed by request, and waits until it can be used. For tests and for accounts without a deployment.
 * Throws the errors of the SDK, `ResourceInUseException` if the table exists.
 */
export async function createStateTable(client: DynamoDBClient, table: string): Promise<void> {
  const { CreateTableCommand, UpdateTimeToLiveCommand, waitUntilTableExists } = await import(
    "@aws-sdk/client-dynamodb"
  );
  const { partitionKey, sortKey, timeToLive } = stateTable;
  await client.send(
    new CreateTableCommand({
      TableName: table,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [
        { AttributeName: partitionKey, AttributeType: "S" },
        { AttributeName: sortKey, AttributeType: "S" },
      ],
      KeySchema: [
        { AttributeName: partitionKey, KeyType: "HASH" },
        { AttributeName: sortKey, KeyType: "RANGE" },
      ],
    }),
  );
  await waitUntilTableExists({ client, maxWaitTime: 60, minDelay: 0.1, maxDelay: 2 }, { TableName: table });
  try {
    await client.send(
      new UpdateTimeToLiveCommand({
        TableName: table,
        TimeToLiveSpecification: { AttributeName: timeToLive, Enabled: true },
      }),
    );
  } catch (error) {
    // Emulators may not support it. Without it, only the table grows.
    if ((error as Error).name !== "UnknownOperationException") throw error;
  }
}
