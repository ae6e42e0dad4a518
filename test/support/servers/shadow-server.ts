import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { until } from "../clocks/until.ts";

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  /** Name, value, name, value, … as received. */
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export type Answer =
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string | string[]>>;
      readonly body?: string | Buffer;
    }
  /** Reads the request and never answers. */
  | "hang"
  /** Reads the request and resets the connection. */
  | "reset";

/** Answers a request at once, or when the promise is fulfilled. */
export type Behaviour = (request: ReceivedRequest) => Answer | Promise<Answer>;

/** Certificates of test/fixtures/tls: `address` is for 127.0.0.1, `name` for shop.example. */
export type Certificate = "address" | "name";

const fixtures = new URL("../../fixtures/tls/", import.meta.url);

export const caFile = new URL("ca.pem", fixtures).pathname;

/** A real server on a free port of 127.0.0.1 that answers as its `behaviour` says; it is closed at the end of the test. */
export class ShadowServer {
  readonly received: ReceivedRequest[] = [];
  /** The largest number of requests in flight at the same time. */
  mostAtOnce = 0;
  /** Connections that had a request. */
  readonly #sockets = new WeakSet<object>();
  connections = 0;
  behaviour: Behaviour;
  readonly #server: ReturnType<typeof createServer>;
  #atOnce = 0;

  static async start(behaviour: Behaviour = () => ({ status: 200 }), certificate?: Certificate): Promise<ShadowServer> {
    const shadow = new ShadowServer(behaviour, certificate);
    await shadow.listen(0);
    onTestFinished(() => shadow.close());
    return shadow;
  }

  private constructor(behaviour: Behaviour, certificate: Certificate | undefined) {
    this.behaviour = behaviour;
    const serve = (request: IncomingMessage, response: ServerResponse) => this.#serve(request, response);
    this.#server = certificate
      ? (createTlsServer({ key: read(`${certificate}.key`), cert: read(`${certificate}.pem`) }, serve) as never)
      : createServer(serve);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): URL {
    return new URL(`${"setSecureContext" in this.#server ? "https" : "http"}://127.0.0.1:${this.port}`);
  }

  get paths(): readonly string[] {
    return this.received.map(({ path }) => path);
  }

  async listen(port: number): Promise<void> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
  }

  async arrived(count: number): Promise<void> {
    await until(() => this.received.length >= count);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#atOnce);
    if (!this.#sockets.has(request.socket)) this.connections++;
    this.#sockets.add(request.socket);
    try {
      const { method = "", url = "", rawHeaders, headers } = request;
      const body = Buffer.concat(await request.toArray());
      const received = { method, path: url, rawHeaders, headers, body };
      this.received.push(received);
      const answer = await this.behaviour(received);
      if (answer === "reset") request.socket.resetAndDestroy();
      else if (answer !== "hang") response.writeHead(answer.status, { ...answer.headers }).end(answer.body);
    } catch {
      // The relay closed the connection during its request.
    } finally {
      this.#atOnce--;
    }
  }
}

function read(name: string): Buffer {
  return readFileSync(new URL(name, fixtures));
}
