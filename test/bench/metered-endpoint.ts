import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  request as send,
} from "node:http";
import type { AddressInfo } from "node:net";

/** A call of an AWS API in its JSON protocol, with its answer. */
export interface MeteredCall {
  /** The name of the action, such as `SendMessageBatch`. */
  readonly action: string;
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: any request of the SDK.
  readonly body: any;
  // biome-ignore lint/suspicious/noExplicitAny: any answer of the emulator.
  readonly answer: any;
}

export interface MeteredEndpointOptions {
  /** The port of an emulator on 127.0.0.1. */
  readonly port: number;
  /** Added to the JSON of each call. */
  readonly extra?: object;
  readonly onCall: (call: MeteredCall) => void;
}

/** A proxy in front of an emulator that reports every call. */
export class MeteredEndpoint {
  readonly #options: MeteredEndpointOptions;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #server: Server;

  static async start(options: MeteredEndpointOptions): Promise<MeteredEndpoint> {
    const endpoint = new MeteredEndpoint(options);
    endpoint.#server.listen(0, "127.0.0.1");
    await once(endpoint.#server, "listening");
    return endpoint;
  }

  private constructor(options: MeteredEndpointOptions) {
    this.#options = options;
    this.#server = createServer((incoming, response) => {
      this.#pass(incoming, response).catch(() => response.destroy());
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
  }

  async #pass(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { port, extra, onCall } = this.#options;
    const body = { ...JSON.parse(String(await readAll(incoming))), ...extra };
    const text = JSON.stringify(body);
    const outgoing = send({
      host: "127.0.0.1",
      port,
      method: "POST",
      path: incoming.url ?? "/",
      headers: { ...incoming.headers, "content-length": Buffer.byteLength(text) },
      agent: this.#agent,
    });
    response.on("close", () => outgoing.destroy());
    const [answer] = (await once(outgoing.end(text), "response")) as [IncomingMessage];
    const answered = await readAll(answer);
    const action = String(incoming.headers["x-amz-target"]).split(".")[1];
    const { statusCode: status = 500 } = answer;
    onCall({ action, status, body, answer: answered.length > 0 ? JSON.parse(String(answered)) : {} });
    response.writeHead(status, answer.headers).end(answered);
  }
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  return Buffer.concat(await message.toArray());
}
