import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** A received call: the action and the JSON of its body. */
export interface SqsRequest {
  readonly action: string;
  // biome-ignore lint/suspicious/noExplicitAny: any request of the SDK.
  readonly body: any;
  readonly authorization: string;
}

/** Handles a call: returns the JSON of an answer with 200, or uses the response itself. */
export type SqsAnswer = (request: SqsRequest, response: ServerResponse) => object | undefined;

/** An SQS endpoint over real HTTP whose answers a test defines; it records the calls. */
export class SqsEndpoint {
  readonly requests: SqsRequest[] = [];
  readonly url: string;

  static async start(answer: SqsAnswer): Promise<SqsEndpoint> {
    const server = createServer(async (incoming, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const request = {
        action: String(incoming.headers["x-amz-target"]).replace("AmazonSQS.", ""),
        body: JSON.parse(Buffer.concat(chunks).toString()),
        authorization: String(incoming.headers.authorization),
      };
      endpoint.requests.push(request);
      const json = answer(request, response);
      if (json) response.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(json));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const endpoint = new SqsEndpoint((server.address() as AddressInfo).port);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return endpoint;
  }

  private constructor(port: number) {
    this.url = `http://127.0.0.1:${port}/123456789012/packs`;
  }
}

/** Refuses a call as SQS does. */
export function refuse(response: ServerResponse, status: number, code: string, message = "for a reason"): undefined {
  response
    .writeHead(status, { "content-type": "application/x-amz-json-1.0" })
    .end(JSON.stringify({ __type: `com.amazonaws.sqs#${code}`, message }));
  return undefined;
}

/** Accepts all entries of a batch except those that are named with a reason. */
export function answerBatch(
  body: { readonly Entries: readonly { readonly Id: string }[] },
  failed: Readonly<
    Record<string, { readonly Code: string; readonly SenderFault: boolean; readonly Message?: string }>
  > = {},
): object {
  const ids = body.Entries.map(({ Id }) => Id);
  return {
    Successful: ids
      .filter((id) => !(id in failed))
      .map((Id) => ({ Id, MessageId: `m-${Id}`, MD5OfMessageBody: "00000000000000000000000000000000" })),
    Failed: ids.filter((id) => id in failed).map((Id) => ({ Id, ...failed[Id] })),
  };
}
