import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { onTestFinished } from "vitest";

/** The fate of connections that were idle for a second: closed, or dead without a sign, as after a firewall dropped its state. */
export type IdleFate = "closed" | "forgotten";

/** A shadow that drops connections which were idle for a second. */
export class SleepyShadow {
  readonly paths: string[] = [];
  /** The number of requests without an answer, since they used dead connections. */
  lost = 0;
  connections = 0;
  readonly #lastUsedMs = new Map<Socket, number>();
  readonly #server = createServer((request, response) => this.#answer(request.socket, request.url ?? "", response));
  readonly #fate: IdleFate;

  static async start(fate: IdleFate): Promise<SleepyShadow> {
    const shadow = new SleepyShadow(fate);
    shadow.#server.listen(0, "127.0.0.1");
    await once(shadow.#server, "listening");
    return shadow;
  }

  private constructor(fate: IdleFate) {
    this.#fate = fate;
    this.#server.keepAliveTimeout = 0;
    this.#server.on("connection", (socket: Socket) => {
      this.connections++;
      this.#lastUsedMs.set(socket, Date.now());
      socket.on("error", () => {});
      socket.once("close", () => this.#lastUsedMs.delete(socket));
    });
    const timer = setInterval(() => {
      if (fate === "closed") for (const socket of this.#idle()) socket.end();
    }, 100);
    onTestFinished(() => {
      clearInterval(timer);
      this.#server.closeAllConnections();
      this.#server.close();
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** True if no usable connection is left. */
  get asleep(): boolean {
    return this.#idle().length === this.#lastUsedMs.size;
  }

  #idle(): readonly Socket[] {
    return [...this.#lastUsedMs].filter(([, usedMs]) => Date.now() - usedMs > 1_000).map(([socket]) => socket);
  }

  #answer(socket: Socket, path: string, response: ServerResponse): void {
    if (this.#fate === "forgotten" && Date.now() - (this.#lastUsedMs.get(socket) ?? 0) > 1_000) {
      this.lost++;
      return;
    }
    this.paths.push(path);
    response.end(() => this.#lastUsedMs.set(socket, Date.now()));
  }
}
