import { CreateQueueCommand, SQSClient } from "@aws-sdk/client-sqs";
import { inject } from "vitest";
import { SqsQueue } from "../../relay/queue/sqs.ts";
import { contractMaxReceives, describeQueue } from "../contract/queue-contract.ts";

const url = inject("motoUrl");
const client = new SQSClient({ endpoint: url, region: "us-east-1" });
let queues = 0;

async function createQueue(Attributes: Record<string, string> = {}): Promise<string> {
  const { QueueUrl = "" } = await client.send(
    new CreateQueueCommand({ QueueName: `contract-${queues++}`, Attributes }),
  );
  return QueueUrl;
}

const noAttributes = "moto 5.1.1 ignores MessageSystemAttributeNames";

// Each reason is a test in differences.test.ts.
const lacks = {
  "delivers every byte that was sent": noAttributes,
  "hides a delivered message for its visibility timeout, then delivers the same message again": noAttributes,
  "makes a message that was received too often a dead letter": noAttributes,
  "ignores a receipt that is not the newest of its message": "moto 5.1.1 accepts old receipts",
};

describeQueue(
  "SqsQueue on moto",
  async () => {
    const dead = await createQueue();
    const arn = `arn:aws:sqs:us-east-1:123456789012:${dead.split("/").at(-1)}`;
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: arn, maxReceiveCount: contractMaxReceives });
    const queue = new SqsQueue({ url: await createQueue({ RedrivePolicy }) });
    const deadLetters = new SqsQueue({ url: dead });
    const close = () => {
      queue.close();
      deadLetters.close();
    };
    return { queue, deadLetters, close };
  },
  { lacks },
);
