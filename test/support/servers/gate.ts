import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { freePorts } from "./free-ports.ts";

/** A proxy in front of a TCP server. While it is shut, it refuses connections; shutting it cuts the open ones. */
export class Gate {
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
  }

  get port(): number {
    return this.#port;
  }

  /** Opens on the same port each time. */
  async open(): Promise<void> {
    const server = createServer((near) => {
      const far = createConnection(this.#targetPort, "127.0.0.1");
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ]) {
        this.#sockets.add(socket);
        socket.pipe(other);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
    // Not an ephemeral port: a client could have taken it when the gate opens again.
    if (this.#port === 0) [this.#port] = await freePorts(1);
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#server = server;
  }

  async shut(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const closed = once(server, "close");
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
