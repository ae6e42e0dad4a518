import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A server that keeps the bytes of every connection as they came, and answers with bytes. */
export class WireServer {
  /** A connection an entry. */
  readonly received: Buffer[] = [];
  readonly #server = createServer((socket) => this.#serve(socket));
  readonly #answer: (request: Buffer) => string | Buffer | undefined;

  /** `answer` is asked at every chunk, with all that has come; its bytes are sent, then the connection is closed. */
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

/** True where the bytes are one whole request. */
export function isWhole(request: Buffer): boolean {
  const head = request.indexOf("\r\n\r\n");
  if (head < 0) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(request.subarray(0, head).toString("latin1"))?.[1] ?? "0";
  return request.length - head - 4 >= Number(length);
}
