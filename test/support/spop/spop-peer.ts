import { connect, type NetConnectOpts, type Socket } from "node:net";
import { type AgentFrame, readAgentFrames } from "./spop-frames.ts";

/** A client that plays HAProxy, well or badly. */
export class SpopPeer {
  readonly socket: Socket;
  /** Resolves when the connection is over, whoever ended it. */
  readonly closed: Promise<void>;
  #received = Buffer.alloc(0);
  #wake = () => {};

  constructor(to: NetConnectOpts) {
    this.socket = connect(to);
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()));
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.#wake());
  }

  /** Begins to read; a peer that does not is one that never looks at its ACKs. */
  read(): this {
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    return this;
  }

  /** Resolves when the kernel has taken the bytes, or the connection is over. */
  async send(...frames: Uint8Array[]): Promise<void> {
    await new Promise<void>((resolve) => {
      this.socket.write(Buffer.concat(frames), () => resolve());
    });
  }

  /** All frames of the agent, once they are at least so many or the connection is over. */
  async frames(count: number): Promise<AgentFrame[]> {
    for (;;) {
      const frames = readAgentFrames(this.#received.subarray(0, this.#wholeBytes()));
      if (frames.length >= count || this.socket.closed) return frames;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #wholeBytes(): number {
    const all = this.#received;
    let end = 0;
    while (end + 4 <= all.length && end + 4 + all.readUInt32BE(end) <= all.length) end += 4 + all.readUInt32BE(end);
    return end;
  }
}
