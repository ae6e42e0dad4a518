import type { Message, SendMessageBatchRequestEntry } from "@aws-sdk/client-sqs";
import { type Delivery, maxMessageBytes, type OutgoingMessage } from "./port.ts";

/** The attribute that holds the pack. */
export const attributeName = "pack";
const attributeType = "Binary";

/** What SQS counts in addition to the pack: the name and the type of its attribute. */
export const attributeBytes = attributeName.length + attributeType.length;

/** Most messages in one call. */
export const maxEntries = 10;

export function toEntry({ body, pack, delayMs = 0 }: OutgoingMessage, index: number): SendMessageBatchRequestEntry {
  return {
    Id: `${index}`,
    MessageBody: body,
    // SQS refuses an attribute with an empty value.
    ...(pack.length > 0 && {
      MessageAttributes: { [attributeName]: { DataType: attributeType, BinaryValue: pack } },
    }),
    ...(delayMs > 0 && { DelaySeconds: toSeconds(delayMs) }),
  };
}

/** Splits entries into as few batches as SQS allows, in order. */
export function fillBatches(entries: readonly SendMessageBatchRequestEntry[]): SendMessageBatchRequestEntry[][] {
  const batches: SendMessageBatchRequestEntry[][] = [];
  let batch: SendMessageBatchRequestEntry[] = [];
  let batchBytes = 0;
  for (const entry of entries) {
    const bytes = bytesOf(entry);
    if (batch.length === 0 || batch.length === maxEntries || batchBytes + bytes > maxMessageBytes) {
      batch = [];
      batchBytes = 0;
      batches.push(batch);
    }
    batch.push(entry);
    batchBytes += bytes;
  }
  return batches;
}

/** A message without a pack is not from spoa-relay: an empty pack, which no decoder accepts, takes its place. */
export function toDelivery({
  MessageId = "",
  ReceiptHandle = "",
  Body = "",
  Attributes,
  MessageAttributes,
}: Message): Delivery {
  return {
    messageId: MessageId,
    receipt: ReceiptHandle,
    body: Body,
    pack: MessageAttributes?.[attributeName]?.BinaryValue ?? new Uint8Array(),
    receiveCount: Number(Attributes?.ApproximateReceiveCount ?? 1),
    sentAtMs: Number(Attributes?.SentTimestamp ?? 0),
  };
}

/** Rounds up: SQS accepts only whole seconds. */
export function toSeconds(ms: number): number {
  return Math.ceil(ms / 1_000);
}

function bytesOf({ MessageBody = "", MessageAttributes }: SendMessageBatchRequestEntry): number {
  const pack = MessageAttributes?.[attributeName].BinaryValue?.length ?? 0;
  return Buffer.byteLength(MessageBody) + attributeBytes + pack;
}
