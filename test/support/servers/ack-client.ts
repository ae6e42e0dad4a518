import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { bin, get, hello, notify, readAgentFrames } from "../spop/spop-frames.ts";

/** Acts as HAProxy on one connection: sends a request to mirror, waits for its ACK, and records the latency. */
export class AckClient {
  readonly latenciesMs: number[] = [];
  readonly #socket: Socket;
  #received = Buffer.alloc(0);

  static async connect(path: string): Promise<AckClient> {
    const socket = connect({ path });
    await once(socket, "connect");
    const client = new AckClient(socket);
    await client.#exchange(hello(), "hello");
    return client;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  async mirror(pathq: string, body?: Uint8Array): Promise<void> {
    const { args } = get(pathq);
    const message = { args: body ? [...args, ["body", bin(body)] as const] : args };
    const sentAtMs = performance.now();
    await this.#exchange(notify({ streamId: this.latenciesMs.length, messages: [message] }), "ack");
    this.latenciesMs.push(performance.now() - sentAtMs);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #exchange(frame: Buffer, type: string): Promise<void> {
    this.#socket.write(frame);
    for (;;) {
      const [chunk] = await once(this.#socket, "data");
      this.#received = Buffer.concat([this.#received, chunk]);
      const whole = this.#received.length >= 4 && this.#received.length === 4 + this.#received.readUInt32BE();
      if (!whole) continue;
      const [answer] = readAgentFrames(this.#received);
      this.#received = Buffer.alloc(0);
      if (answer.type === type) return;
      throw new Error(`the agent answered ${answer.type}: ${JSON.stringify(answer.items.message)}`);
    }
  }
}
