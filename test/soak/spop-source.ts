import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Traffic } from "../support/processes/traffic.ts";
import { hello, notify } from "../support/spop/spop-frames.ts";

const stepMs = 5;

/** Acts as HAProxy at a fixed rate, and counts the ACKs. */
export class SpopSource {
  sent = 0;
  acknowledged = 0;
  readonly #traffic: Traffic;
  readonly #sockets: readonly Socket[];

  static async connect(port: number, connections: number, traffic: Traffic): Promise<SpopSource> {
    const sockets: Socket[] = [];
    for (let i = 0; i < connections; i++) {
      const socket = createConnection({ host: "127.0.0.1", port, noDelay: true });
      await once(socket, "connect");
      socket.write(hello());
      await once(socket, "data");
      sockets.push(socket);
    }
    return new SpopSource(sockets, traffic);
  }

  private constructor(sockets: readonly Socket[], traffic: Traffic) {
    this.#sockets = sockets;
    this.#traffic = traffic;
    for (const socket of sockets) this.#count(socket);
  }

  /** Sends NOTIFYs at a rate for some seconds. A slow machine sends late ones together, and none is left out. */
  async send(ratePerSecond: number, seconds: number): Promise<void> {
    const startMs = performance.now();
    const all = ratePerSecond * seconds;
    while (this.sent < all) {
      const due = Math.min(all, ((performance.now() - startMs) * ratePerSecond) / 1_000);
      const unsent = this.#sockets.map((): Buffer[] => []);
      for (; this.sent < due; this.sent++) {
        const frame = notify({ streamId: this.sent, messages: [this.#traffic.next()] });
        unsent[this.sent % unsent.length].push(frame);
      }
      this.#sockets.forEach((socket, i) => {
        if (unsent[i].length > 0) socket.write(Buffer.concat(unsent[i]));
      });
      await sleep(stepMs);
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #count(socket: Socket): void {
    let rest: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      let at = 0;
      while (bytes.length - at >= 4 && bytes.length - at >= 4 + bytes.readUInt32BE(at)) {
        at += 4 + bytes.readUInt32BE(at);
        this.acknowledged++;
      }
      rest = bytes.subarray(at);
    });
  }
}
