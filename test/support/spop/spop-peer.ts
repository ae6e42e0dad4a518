import { connect, type NetConnectOpts, type Socket } from "node:net";
import { type AgentFrame, readAgentFrames } from "./spop-frames.ts";

/** A client that acts as HAProxy, correctly or not. */
export class SpopPeer {
  readonly socket: Socket;
  /** Resolves when either side has closed the connection. */
  readonly closed: Promise<void>;
  #received = Buffer.alloc(0);
  #wake = () => {};

  constructor(to: NetConnectOpts) {
    this.socket = connect(to);
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()));
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.#wake());
  }

  /** Starts to read. Without it, the peer never reads its ACKs. */
  read(): this {
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    return this;
  }

  /** Resolves when the kernel has accepted the bytes or the connection is closed. */
  async send(...frames: Uint8Array[]): Promise<void> {
    await new Promise<void>((resolve) => {
      this.socket.write(Buffer.concat(frames), () => resolve());
    });
  }

  /** All frames of the agent, once there are at least `count` or the connection is closed. */
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
