import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { describe, expect, inject, it } from "vitest";
import { maxMessageBytes } from "../../relay/queue/port.ts";
import { SqsQueue } from "../../relay/queue/sqs.ts";
import { message, receiveAll } from "../contract/queue-contract.ts";

// What SQS does and moto does not: the reasons why tests are skipped on moto, and settings left out. If one of these fails, moto
// has learnt it: delete the difference, and what it excuses.

const client = new SQSClient({ endpoint: inject("motoUrl"), region: "us-east-1", maxAttempts: 1 });
let queues = 0;

async function createQueue(Attributes: Record<string, string> = {}): Promise<string> {
  const { QueueUrl = "" } = await client.send(
    new CreateQueueCommand({ QueueName: `differences-${queues++}`, Attributes }),
  );
  return QueueUrl;
}

describe("moto differs from SQS: it", () => {
  it("ignores MessageSystemAttributeNames, and still knows only AttributeNames, which SQS has deprecated", async () => {
    const QueueUrl = await createQueue();
    const ask = async (names: object) => {
      await client.send(new SendMessageCommand({ QueueUrl, MessageBody: "one" }));
      const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, ...names }));
      return Messages[0].Attributes?.ApproximateReceiveCount;
    };

    expect(await ask({ MessageSystemAttributeNames: ["All"] })).toBeUndefined();
    expect(await ask({ AttributeNames: ["All"] })).toBe("1");
  });

  it("accepts an old receipt of a message that was received again", async () => {
    const QueueUrl = await createQueue();
    await client.send(new SendMessageCommand({ QueueUrl, MessageBody: "one" }));
    const receive = async (VisibilityTimeout: number) => {
      const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, VisibilityTimeout }));
      return Messages.map(({ ReceiptHandle }) => ReceiptHandle);
    };
    const [old] = await receive(0);
    await receive(600);

    await client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: old, VisibilityTimeout: 0 }));

    expect(await receive(600)).toHaveLength(1);
  });

  it("refuses a MaximumMessageSize of 1 MiB", async () => {
    const refused = createQueue({ MaximumMessageSize: `${maxMessageBytes}` });

    await expect(refused).rejects.toThrow(/MaximumMessageSize/);
    await createQueue({ MaximumMessageSize: `${maxMessageBytes / 4}` });
  });

  it("fails with 500 for an empty Binary attribute, which SQS refuses with InvalidParameterValue", async () => {
    const QueueUrl = await createQueue();
    const sent = client.send(
      new SendMessageCommand({
        QueueUrl,
        MessageBody: "one",
        MessageAttributes: { pack: { DataType: "Binary", BinaryValue: new Uint8Array() } },
      }),
    );

    await expect(sent).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
  });
});

describe("moto, as SQS", () => {
  // A part of the contract's first test that does not need the attributes.
  it("delivers every byte that was sent", async () => {
    const queue = new SqsQueue({ url: await createQueue() });
    const sent = message({ body: '{"name":"Zoë 🐑"}', pack: Uint8Array.from({ length: 256 }, (_, i) => i) });

    await queue.send([sent]);
    const [delivery] = await receiveAll(queue, 1);
    queue.close();

    expect(delivery.body).toBe(sent.body);
    expect(Buffer.from(delivery.pack)).toEqual(Buffer.from(sent.pack));
  });
});
