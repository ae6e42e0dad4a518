import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished, vi } from "vitest";

const functionPrefix = "packs-replay-";

/** The ARN of a target's replay function. */
export function replayArn(target: string, region = "us-east-1", account = "123456789012"): string {
  return `arn:aws:lambda:${region}:${account}:function:${functionPrefix}${target}`;
}

/** An endpoint over real HTTP with the part of Lambda's API that switches event source mappings. */
export class LambdaApi {
  /** Lambda's state of the mapping, by target. Empty: the function has no mapping. Missing: the function does not exist. */
  readonly states = new Map<string, string>();
  /** The requested changes, such as `turn on TARGET`. */
  readonly turned: string[] = [];
  /** The regions in the signatures of the requests. */
  readonly regions = new Set<string>();
  readonly #server = createServer((request, response) => this.#answer(request, response));

  /** Starts the endpoint; until the end of the test the SDK finds it through the environment. */
  static async start(states: Readonly<Record<string, string>>): Promise<LambdaApi> {
    const api = new LambdaApi();
    for (const [target, state] of Object.entries(states)) api.states.set(target, state);
    api.#server.listen(0, "127.0.0.1");
    await once(api.#server, "listening");
    onTestFinished(() => {
      api.#server.closeAllConnections();
      api.#server.close();
    });
    vi.stubEnv("AWS_ENDPOINT_URL_LAMBDA", api.endpoint);
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
    onTestFinished(() => void vi.unstubAllEnvs());
    return api;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await request.toArray()).toString();
    const [, region = "none"] =
      /Credential=[^/]+\/\d+\/([^/]+)\/lambda/.exec(request.headers.authorization ?? "") ?? [];
    this.regions.add(region);
    const { pathname, searchParams } = new URL(request.url ?? "", this.endpoint);
    const target =
      request.method === "PUT"
        ? (pathname.split("/").at(-1) ?? "").replace("uuid-", "")
        : (searchParams.get("FunctionName")?.split(functionPrefix).at(-1) ?? "");
    response.setHeader("content-type", "application/json");
    if (!this.states.has(target)) {
      response.writeHead(404, { "x-amzn-errortype": "ResourceNotFoundException" });
      response.end(JSON.stringify({ Type: "User", Message: `no function for ${target}` }));
      return;
    }
    if (request.method === "PUT") {
      const { Enabled: on } = JSON.parse(body) as { readonly Enabled: boolean };
      this.turned.push(`turn ${on ? "on" : "off"} ${target}`);
      this.states.set(target, on ? "Enabled" : "Disabled");
    }
    const state = this.states.get(target);
    const mapping = { UUID: `uuid-${target}`, State: state };
    response.writeHead(request.method === "PUT" ? 202 : 200);
    response.end(JSON.stringify(request.method === "PUT" ? mapping : { EventSourceMappings: state ? [mapping] : [] }));
  }
}
