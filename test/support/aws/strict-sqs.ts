import type { ServerResponse } from "node:http";
import { refuse, SqsEndpoint, type SqsRequest } from "./sqs-endpoint.ts";
import { findRefusal, type WireAttribute, type WireEntry } from "./sqs-rules.ts";

interface StoredMessage {
  readonly id: number;
  readonly entry: WireEntry;
  readonly sentAtMs: number;
  visibleAtMs: number;
  receives: number;
}

interface Receipt {
  readonly Id?: string;
  readonly ReceiptHandle: string;
  readonly VisibilityTimeout?: number;
}

/**
 * Standard queues over HTTP that accept and refuse messages by the rules of SQS. The emulator counts Binary attributes in base64,
 * and accepts empty ones. Queues come into being with their first call.
 */
export class StrictSqs {
  /** The time of the queues, in milliseconds since 1970. */
  nowMs = Date.now();
  /** Why messages were refused. */
  readonly refusals: string[] = [];
  readonly #queues = new Map<string, StoredMessage[]>();
  #endpoint: SqsEndpoint | undefined;
  #ids = 0;

  /** Stopped at the end of the test. */
  static async start(): Promise<StrictSqs> {
    const sqs = new StrictSqs();
    sqs.#endpoint = await SqsEndpoint.start((request, response) => sqs.#answer(request, response));
    return sqs;
  }

  urlOf(name: string): string {
    return (this.#endpoint?.url ?? "").replace(/[^/]+$/, name);
  }

  /** The messages of a queue, visible or not, as they were sent. */
  contents(name: string): readonly WireEntry[] {
    return this.#queue(this.urlOf(name)).map(({ entry }) => entry);
  }

  /** Stores a message of another program. Throws if SQS would refuse it. */
  put(name: string, body: string, attributes?: Readonly<Record<string, WireAttribute>>): void {
    const entry = { Id: "0", MessageBody: body, ...(attributes && { MessageAttributes: attributes }) };
    const refusal = findRefusal(entry);
    if (refusal) throw new Error(refusal.text);
    this.#store(this.urlOf(name), entry);
  }

  clear(): void {
    this.#queues.clear();
  }

  #answer({ action, body }: SqsRequest, response: ServerResponse): object | undefined {
    const messages = this.#queue(body.QueueUrl);
    switch (action) {
      case "SendMessageBatch":
        return this.#send(body.QueueUrl, body.Entries, response);
      case "ReceiveMessage":
        return { Messages: this.#receive(messages, body) };
      case "DeleteMessageBatch":
        for (const receipt of body.Entries as Receipt[]) {
          const at = messages.findIndex((message) => receiptOf(message) === receipt.ReceiptHandle);
          if (at >= 0) messages.splice(at, 1);
        }
        return { Successful: body.Entries.map(({ Id }: Receipt) => ({ Id })) };
      case "ChangeMessageVisibility":
        this.#hide(messages, body);
        return {};
      case "ChangeMessageVisibilityBatch":
        for (const receipt of body.Entries as Receipt[]) this.#hide(messages, receipt);
        return { Successful: body.Entries.map(({ Id }: Receipt) => ({ Id })) };
      case "GetQueueAttributes":
        return { Attributes: { ApproximateNumberOfMessages: String(messages.length) } };
      default:
        return refuse(response, 400, "UnsupportedOperation", action);
    }
  }

  #send(url: string, entries: readonly WireEntry[], response: ServerResponse): object | undefined {
    const bytes = entries.reduce((sum, { MessageBody = "", MessageAttributes = {} }) => {
      const attributes = Object.entries(MessageAttributes).map(
        ([name, { DataType = "", BinaryValue = "" }]) =>
          name.length + DataType.length + Buffer.from(BinaryValue, "base64").length,
      );
      return sum + Buffer.from(MessageBody).length + attributes.reduce((all, one) => all + one, 0);
    }, 0);
    if (bytes > 1024 * 1024) return refuse(response, 400, "BatchRequestTooLong");
    const refusals = entries.map(findRefusal);
    this.refusals.push(...refusals.flatMap((refusal) => refusal?.text ?? []));
    for (const [i, entry] of entries.entries()) if (!refusals[i]) this.#store(url, entry);
    const failed = entries.flatMap(({ Id }, i) => {
      const refusal = refusals[i];
      return refusal ? [{ Id, SenderFault: true, Code: refusal.code, Message: refusal.text }] : [];
    });
    const taken = entries.filter((_, i) => !refusals[i]);
    const digest = "00000000000000000000000000000000";
    return { Successful: taken.map(({ Id }) => ({ Id, MessageId: Id, MD5OfMessageBody: digest })), Failed: failed };
  }

  #store(url: string, entry: WireEntry): void {
    const visibleAtMs = this.nowMs + (entry.DelaySeconds ?? 0) * 1_000;
    this.#queue(url).push({ id: ++this.#ids, entry, sentAtMs: this.nowMs, visibleAtMs, receives: 0 });
  }

  #receive(
    messages: readonly StoredMessage[],
    { MaxNumberOfMessages: max = 1, VisibilityTimeout: seconds = 30 }: Record<string, number>,
  ): object[] {
    const due = messages.filter(({ visibleAtMs }) => visibleAtMs <= this.nowMs).slice(0, max);
    return due.map((message) => {
      message.receives++;
      message.visibleAtMs = this.nowMs + seconds * 1_000;
      const { entry, sentAtMs, receives } = message;
      const { pack } = entry.MessageAttributes ?? {};
      return {
        MessageId: `m${message.id}`,
        ReceiptHandle: receiptOf(message),
        Body: entry.MessageBody,
        Attributes: { ApproximateReceiveCount: String(receives), SentTimestamp: String(sentAtMs) },
        ...(pack && { MessageAttributes: { pack } }),
      };
    });
  }

  #hide(messages: readonly StoredMessage[], { ReceiptHandle, VisibilityTimeout = 0 }: Receipt): void {
    const message = messages.find((one) => receiptOf(one) === ReceiptHandle);
    if (message) message.visibleAtMs = this.nowMs + VisibilityTimeout * 1_000;
  }

  #queue(url: string): StoredMessage[] {
    const queue = this.#queues.get(url) ?? [];
    this.#queues.set(url, queue);
    return queue;
  }
}

function receiptOf({ id, receives }: StoredMessage): string {
  return `${id}.${receives}`;
}
