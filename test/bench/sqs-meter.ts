import type { MeteredCall } from "./metered-endpoint.ts";

// SQS bills every action, and each started 64 KiB of its payload as one request. Received messages are payload like sent ones.
const billedBytes = 64 * 1024;

interface Attribute {
  readonly DataType: string;
  readonly StringValue?: string;
  readonly BinaryValue?: string;
}

interface Payload {
  readonly MessageBody?: string;
  readonly Body?: string;
  readonly MessageAttributes?: Readonly<Record<string, Attribute>>;
}

/** Counts the requests that SQS would bill. */
export class SqsMeter {
  readonly #requests = new Map<string, number>();
  #emptyReceives = 0;

  take({ action, status, body, answer }: MeteredCall): void {
    if (status !== 200) throw new Error(`${action} was answered ${status}`);
    const payload: readonly Payload[] = body.Entries ?? answer.Messages ?? [];
    if (action === "ReceiveMessage" && payload.length === 0) {
      this.#emptyReceives++;
      return;
    }
    const bytes = payload.reduce((sum, message) => sum + bytesOf(message), 0);
    const what = `${action.replace("Batch", "")}, ${queueOf(body.QueueUrl)}`;
    this.#requests.set(what, (this.#requests.get(what) ?? 0) + Math.max(1, Math.ceil(bytes / billedBytes)));
  }

  /** By action and queue, without receives of nothing: their cost is per hour, independent of the traffic. */
  get requests(): ReadonlyMap<string, number> {
    return this.#requests;
  }

  get emptyReceives(): number {
    return this.#emptyReceives;
  }

  get total(): number {
    return this.requestsOf("");
  }

  /** The sum over all queues. */
  requestsOf(action: string): number {
    return [...this.#requests].reduce((sum, [what, count]) => (what.startsWith(action) ? sum + count : sum), 0);
  }
}

/** Names, types and values of attributes count; binary values count with their bytes, not as base64. */
function bytesOf({ MessageBody = "", Body = "", MessageAttributes = {} }: Payload): number {
  return Object.entries(MessageAttributes).reduce(
    (sum, [name, { DataType, StringValue = "", BinaryValue = "" }]) =>
      sum + name.length + DataType.length + Buffer.byteLength(StringValue) + Buffer.byteLength(BinaryValue, "base64"),
    Buffer.byteLength(MessageBody) + Buffer.byteLength(Body),
  );
}

function queueOf(url: string): string {
  return url.split("/").at(-1) ?? "";
}
