import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** A received call: the action, the JSON of its body and, once it is answered, the JSON of the answer. */
export interface DynamoDbCall {
  readonly action: string;
  // biome-ignore lint/suspicious/noExplicitAny: any request of the SDK.
  readonly body: any;
  // biome-ignore lint/suspicious/noExplicitAny: any answer of DynamoDB.
  answer?: any;
}

/**
 * `loses the answer`: DynamoDB executes the call, but the caller receives no answer. A function answers instead of DynamoDB.
 */
export type CallFate = "goes through" | "is refused" | "loses the answer" | ((response: ServerResponse) => void);

/** A proxy in front of DynamoDB that records the calls and decides the fate of each. */
export class DynamoDbProxy {
  readonly endpoint: string;
  /** The calls that were not refused. */
  readonly calls: DynamoDbCall[] = [];
  /** Decides the fate of the next calls. */
  decide: (call: DynamoDbCall) => CallFate | Promise<CallFate> = () => "goes through";
  readonly #target: URL;

  static async start(endpoint = "http://127.0.0.1"): Promise<DynamoDbProxy> {
    const server = createServer((incoming, response) => proxy.#pass(incoming, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new DynamoDbProxy(endpoint, server);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return proxy;
  }

  private constructor(endpoint: string, server: Server) {
    this.#target = new URL(endpoint);
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Lets `calls` calls through, gives the next one the fate `first`, and refuses all others, as if the process had died. */
  dieAfter(calls: number, first: CallFate): void {
    let left = calls;
    this.decide = () => {
      left--;
      if (left >= 0) return "goes through";
      return left === -1 ? first : "is refused";
    };
  }

  /** Holds all calls that fit until they are released. `reached` resolves at the first one. */
  hold(fits: (call: DynamoDbCall) => boolean): { readonly reached: Promise<void>; release(): void } {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.decide = async (call) => {
      if (fits(call)) {
        reached.resolve();
        await released.promise;
      }
      return "goes through" as const;
    };
    return { reached: reached.promise, release: () => released.resolve() };
  }

  heal(): void {
    this.decide = () => "goes through";
  }

  /** The number of writing calls, including those that failed. */
  get writes(): number {
    return this.calls.filter(({ action }) => !/^(?:Get|BatchGet|Query)/.test(action)).length;
  }

  async #pass(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readAll(incoming);
    const action = String(incoming.headers["x-amz-target"]).replace("DynamoDB_20120810.", "");
    const call: DynamoDbCall = { action, body: JSON.parse(body.toString()) };
    const fate = await this.decide(call);
    if (fate === "is refused") {
      incoming.socket.destroy();
      return;
    }
    this.calls.push(call);
    if (typeof fate === "function") {
      fate(response);
      return;
    }
    const { hostname, port } = this.#target;
    const { method = "POST", url = "/", headers } = incoming;
    const outgoing = send({ hostname, port, method, path: url, headers }).end(body);
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    const answered = await readAll(answer);
    call.answer = JSON.parse(answered.toString());
    if (fate === "loses the answer") incoming.socket.destroy();
    else response.writeHead(answer.statusCode ?? 500, answer.headers).end(answered);
  }
}

/** Refuses a call as DynamoDB does. */
export function refusal(status: number, code: string, more: object = { message: "for a reason" }): CallFate {
  const body = JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${code}`, ...more });
  return (response) => response.writeHead(status, { "content-type": "application/x-amz-json-1.0" }).end(body);
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}
