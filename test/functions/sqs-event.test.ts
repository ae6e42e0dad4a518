import { describe, expect, it } from "vitest";
import { createBatchApp } from "../../functions/batch.ts";
import { parseSqsEvent, toSqsEvent } from "../../functions/sqs-event.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { delivery, packMessage } from "../support/data/packs.ts";

// An event as Lambda sends it: with unused fields, and all values strings.
const fromLambda = {
  Records: [
    {
      messageId: "059f36b4-87a3-44ab-83d2-661975830a7d",
      receiptHandle: "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a…",
      body: "{}",
      attributes: {
        ApproximateReceiveCount: "3",
        SentTimestamp: "1545082649183",
        SenderId: "AIDAIENQZJOLO23YVJ4VO",
        ApproximateFirstReceiveTimestamp: "1545082649185",
      },
      messageAttributes: {
        pack: { stringListValues: [], binaryListValues: [], dataType: "Binary", binaryValue: "AAH/" },
      },
      md5OfBody: "e4e68fb7bd0e697a0ae8f1bb342846b3",
      eventSource: "aws:sqs",
      eventSourceARN: "arn:aws:sqs:us-east-2:123456789012:my-queue",
      awsRegion: "us-east-2",
    },
  ],
};

describe("an SQS event", () => {
  it("is parsed into the deliveries that it was created from", () => {
    const sent = [delivery(packMessage()), delivery(packMessage(), { messageId: "m2", receiveCount: 7 })];
    const parsed = parseSqsEvent(JSON.parse(JSON.stringify(toSqsEvent(sent))));

    expect(parsed).toEqual(sent.map((each) => ({ ...each, pack: Buffer.from(each.pack) })));
  });

  it("is parsed as Lambda sends it", () => {
    expect(parseSqsEvent(fromLambda)).toEqual([
      {
        messageId: "059f36b4-87a3-44ab-83d2-661975830a7d",
        receipt: "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a…",
        body: "{}",
        pack: Buffer.from([0, 1, 255]),
        receiveCount: 3,
        sentAtMs: 1_545_082_649_183,
      },
    ]);
  });

  it.each([
    ["no attributes", { messageAttributes: {} }],
    ["a text for a pack", { messageAttributes: { pack: { dataType: "String", stringValue: "x" } } }],
    ["another shape", { attributes: undefined }],
  ])("keeps a record with %s, with an empty pack", (_, changes) => {
    const [record] = fromLambda.Records;
    const [parsed] = parseSqsEvent({ Records: [{ ...record, ...changes }] });

    expect(parsed).toMatchObject({ messageId: record.messageId, receipt: record.receiptHandle, body: "{}" });
    expect(parsed.pack.length).toBe(0);
  });

  it.each([undefined, null, {}, { Records: {} }, { Records: [{}] }, "x"])("is refused if it is %j", (event) => {
    expect(() => parseSqsEvent(event)).toThrow();
  });
});

describe("a batch", () => {
  it("names only the failed messages in its answer", async () => {
    const log = new LogLines();
    const app = createBatchApp(log.log, async ({ messageId }) => {
      if (messageId === "throws") throw new Error("broken");
      return messageId === "again" ? "again" : "done";
    });
    const batch = ["done", "again", "throws", "done too"].map((messageId) => delivery(packMessage(), { messageId }));
    const response = await app.request("/", { method: "POST", body: JSON.stringify(toSqsEvent(batch)) });

    expect(await response.json()).toEqual({
      batchItemFailures: [{ itemIdentifier: "again" }, { itemIdentifier: "throws" }],
    });
    expect(log.lines).toMatchObject([{ event: "delivery-failed", message: "throws", reason: "broken" }]);
  });

  it("is answered with an error if it is not an event, and with no failures if it is empty", async () => {
    const log = new LogLines();
    const app = createBatchApp(log.log, async () => "done");
    const answer = async (body: string) => (await app.request("/", { method: "POST", body })).status;

    expect([await answer("{}"), await answer("<xml/>"), await answer('{"Records":[]}')]).toEqual([500, 500, 200]);
    expect(log.lines).toMatchObject([{ reason: "ZodError" }, { reason: "SyntaxError" }]);
  });
});
