import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import dynalite from "dynalite";
import { type FauxqsServer, startFauxqs } from "fauxqs";
import { onTestFinished } from "vitest";
import type { CloudTemplate, Properties } from "./cloud-template.ts";

// The account that fauxqs gives to all its resources.
const emulatorAccount = "000000000000";

/** Starts SQS and S3 with the queues and buckets of a template and their properties; stopped at the end of the test. */
export async function startRegion(template: CloudTemplate): Promise<FauxqsServer> {
  const { region } = template.stack;
  const emulator = await startFauxqs({ port: 0, logger: false, defaultRegion: region });
  onTestFinished(() => emulator.stop());
  const queues = template.ofType("AWS::SQS::Queue").map(({ properties }) => properties);
  // Dead-letter queues first: a redrive policy can only name an existing queue.
  for (const queue of queues.toSorted((a, b) => Number("RedrivePolicy" in a) - Number("RedrivePolicy" in b))) {
    emulator.createQueue(queue.QueueName, { region, attributes: toAttributes(queue) });
  }
  for (const { properties } of template.ofType("AWS::S3::Bucket")) emulator.createBucket(properties.BucketName);
  return emulator;
}

/** Starts DynamoDB with the tables of a template and their properties; stopped at the end of the test. */
export async function startTables(template: CloudTemplate): Promise<number> {
  const server = dynalite({ createTableMs: 0 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => new Promise<void>((done) => void server.close(() => done())));
  const { port } = server.address() as AddressInfo;
  const client = new DynamoDBClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: template.stack.region,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  for (const { properties } of template.ofType("AWS::DynamoDB::Table")) {
    const { TableName, KeySchema, AttributeDefinitions, BillingMode } = properties;
    await client.send(new CreateTableCommand({ TableName, KeySchema, AttributeDefinitions, BillingMode }));
  }
  client.destroy();
  return port;
}

/** The CloudFormation properties that are SQS attributes with the same name. */
function toAttributes(queue: Properties): Record<string, string> {
  const names = ["VisibilityTimeout", "MessageRetentionPeriod", "MaximumMessageSize", "DelaySeconds"];
  const entries = names.filter((name) => name in queue).map((name) => [name, String(queue[name])]);
  if (queue.RedrivePolicy) {
    const { deadLetterTargetArn, maxReceiveCount } = queue.RedrivePolicy;
    const target = deadLetterTargetArn.replace(/:\d{12}:/, `:${emulatorAccount}:`);
    entries.push(["RedrivePolicy", JSON.stringify({ deadLetterTargetArn: target, maxReceiveCount })]);
  }
  return Object.fromEntries(entries);
}
