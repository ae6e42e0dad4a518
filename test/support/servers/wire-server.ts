import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A server that keeps the received bytes of every connection, and answers with bytes. */
export class WireServer {
  /** One entry for each connection. */
  readonly received: Buffer[] = [];
  readonly #server = createServer((socket) => this.#serve(socket));
  readonly #answer: (request: Buffer) => string | Buffer | undefined;

  /** Calls `answer` after every chunk with all received bytes. Sends the bytes that it returns, then closes the connection. */
  static async start(answer: (request: Buffer) => string | Buffer | undefined): Promise<WireServer> {
    const wire = new WireServer(answer);
    wire.#server.listen(0, "127.0.0.1");
    await once(wire.#server, "listening");
    onTestFinished(() => {
      wire.#server.close();
    });
    return wire;
  }

  private constructor(answer: (request: Buffer) => string | Buffer | undefined) {
    this.#answer = answer;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  #serve(socket: Socket): void {
    const number = this.received.push(Buffer.alloc(0)) - 1;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      this.received[number] = Buffer.concat([this.received[number], chunk]);
      const answer = this.#answer(this.received[number]);
      if (answer !== undefined) socket.end(answer);
    });
  }
}

/** True if the bytes are one whole request. */
export function isWhole(request: Buffer): boolean {
  const head = request.indexOf("\r\n\r\n");
  if (head < 0) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(request.subarray(0, head).toString("latin1"))?.[1] ?? "0";
  return request.length - head - 4 >= Number(length);
}
