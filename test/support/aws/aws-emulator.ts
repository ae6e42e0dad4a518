import { writeSync } from "node:fs";
import { startFauxqs } from "fauxqs";
import { startDynamoDb } from "./dynamodb.ts";

// Runs emulators of SQS and DynamoDB in a process of their own until standard input ends. Arguments: names of queues; each
// also gets a dead-letter queue. Prints a line of JSON, see `AwsEmulator`.

/** The addresses of the emulators. */
export interface AwsEmulator {
  readonly sqsPort: number;
  readonly dynamoDbEndpoint: string;
  readonly table: string;
  readonly region: string;
}

const sqs = await startFauxqs({ port: 0, logger: false });
for (const name of process.argv.slice(2)) {
  sqs.createQueue(name);
  sqs.createQueue(`${name}-dlq`);
}
const { endpoint: dynamoDbEndpoint, table, region } = await startDynamoDb();
const emulator: AwsEmulator = { sqsPort: sqs.port, dynamoDbEndpoint, table, region };
writeSync(1, `${JSON.stringify(emulator)}\n`);
process.stdin.resume().on("end", () => process.exit());
