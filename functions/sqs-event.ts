import { z } from "zod";
import type { Delivery } from "../relay/queue/port.ts";

// The fields of Lambda's SQS event that are used here.
const recordSchema = z.object({
  messageId: z.string(),
  receiptHandle: z.string(),
  body: z.string(),
  attributes: z.object({ ApproximateReceiveCount: z.string(), SentTimestamp: z.string() }),
  messageAttributes: z.object({ pack: z.object({ dataType: z.literal("Binary"), binaryValue: z.string() }) }),
});

const eventSchema = z.object({ Records: z.array(z.unknown()) });

type SqsRecord = z.infer<typeof recordSchema>;

export interface SqsEvent {
  readonly Records: readonly SqsRecord[];
}

/** The answer to a batch, as Lambda expects it: the messages named here are delivered again, the others are deleted. */
export interface SqsBatchResponse {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

/** Converts deliveries to the event that Lambda would send for them. */
export function toSqsEvent(deliveries: readonly Delivery[]): SqsEvent {
  return {
    Records: deliveries.map((delivery) => ({
      messageId: delivery.messageId,
      receiptHandle: delivery.receipt,
      body: delivery.body,
      attributes: {
        ApproximateReceiveCount: String(delivery.receiveCount),
        SentTimestamp: String(delivery.sentAtMs),
      },
      messageAttributes: {
        pack: { dataType: "Binary", binaryValue: Buffer.from(delivery.pack).toString("base64") },
      },
    })),
  };
}

/**
 * Parses an event into deliveries. A record that is not one of our messages becomes a delivery with an empty pack: it cannot
 * be decoded and becomes a dead letter, instead of being delivered again forever. Throws if the event has no `Records`, or
 * one without an id and a receipt.
 */
export function parseSqsEvent(event: unknown): Delivery[] {
  return eventSchema.parse(event).Records.map((record) => {
    const parsed = recordSchema.safeParse(record);
    if (parsed.success) return toDelivery(parsed.data);
    const { messageId, receiptHandle, body } = z
      .object({ messageId: z.string(), receiptHandle: z.string(), body: z.string().default("") })
      .parse(record);
    return { messageId, receipt: receiptHandle, body, pack: new Uint8Array(), receiveCount: 1, sentAtMs: 0 };
  });
}

function toDelivery(record: SqsRecord): Delivery {
  return {
    messageId: record.messageId,
    receipt: record.receiptHandle,
    body: record.body,
    pack: Buffer.from(record.messageAttributes.pack.binaryValue, "base64"),
    receiveCount: Number(record.attributes.ApproximateReceiveCount),
    sentAtMs: Math.floor(Number(record.attributes.SentTimestamp)),
  };
}
