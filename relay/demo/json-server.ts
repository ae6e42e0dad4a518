import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";

/** A request that a server of the demo received. */
export interface Received {
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly headers: NodeJS.Dict<string | string[]>;
  /** Name, value, name, value, … as received. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

/** An HTTP server that answers with JSON and records every request: the primary, or a shadow. */
export class JsonServer {
  readonly #name: string;
  readonly #port: number;
  readonly #log: (line: string) => void;
  #server: Server | undefined;
  readonly received: Received[] = [];

  constructor(name: string, port: number, log: (line: string) => void) {
    this.#name = name;
    this.#port = port;
    this.#log = log;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      readBody(request).then(
        (body) => {
          this.#remember(request, body);
          const answer = { backend: this.#name, method: request.method, path: request.url };
          response.writeHead(200, { "content-type": "application/json" }).end(`${JSON.stringify(answer)}\n`);
        },
        () => response.destroy(),
      );
    });
    server.keepAliveTimeout = 60_000;
    server.listen(this.#port, "127.0.0.1", 4_096);
    await once(server, "listening");
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  #remember(request: IncomingMessage, body: Buffer): void {
    const { method = "", url = "", headers, rawHeaders } = request;
    this.received.push({ atMs: performance.now(), method, path: url, headers, rawHeaders, body });
    this.#log(`Received request: ${method} ${url}`);
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
