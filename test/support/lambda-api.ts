import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished, vi } from "vitest";

/** An endpoint that speaks as much of Lambda's API as is needed to switch event source mappings, over real HTTP. */
export class LambdaApi {
  /** State by UUID, as Lambda names it. A UUID that is not here is not found. */
  readonly states = new Map<string, string>();
  /** What was asked for, such as `turn on UUID`. */
  readonly turned: string[] = [];
  readonly #server = createServer((request, response) => this.#answer(request, response));

  /** The SDK finds it through the environment, until the end of the test. */
  static async start(states: Readonly<Record<string, string>>): Promise<LambdaApi> {
    const api = new LambdaApi();
    for (const [uuid, state] of Object.entries(states)) api.states.set(uuid, state);
    api.#server.listen(0, "127.0.0.1");
    await once(api.#server, "listening");
    onTestFinished(() => {
      api.#server.closeAllConnections();
      api.#server.close();
    });
    vi.stubEnv("AWS_ENDPOINT_URL_LAMBDA", api.endpoint);
    vi.stubEnv("AWS_REGION", "us-east-1");
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
    onTestFinished(() => void vi.unstubAllEnvs());
    return api;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const uuid = request.url?.split("/").at(-1) ?? "";
    const body = Buffer.concat(await request.toArray()).toString();
    response.setHeader("content-type", "application/json");
    if (!this.states.has(uuid)) {
      response.writeHead(404, { "x-amzn-errortype": "ResourceNotFoundException" });
      response.end(JSON.stringify({ Type: "User", Message: `no mapping ${uuid}` }));
      return;
    }
    if (request.method === "PUT") {
      const { Enabled: on } = JSON.parse(body) as { readonly Enabled: boolean };
      this.turned.push(`turn ${on ? "on" : "off"} ${uuid}`);
      this.states.set(uuid, on ? "Enabled" : "Disabled");
    }
    response.writeHead(request.method === "PUT" ? 202 : 200);
    response.end(JSON.stringify({ UUID: uuid, State: this.states.get(uuid) }));
  }
}
