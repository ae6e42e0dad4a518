import { debuglog } from "node:util";
import { FrameSplitter, FrameTooBig } from "../spop/frame-splitter.ts";
import { formatFrame } from "../spop/frame-text.ts";

const debug = debuglog("spop");
const maxFrameBytes = 64 * 1024 * 1024;

/** Prints the frames of a connection in both directions on standard error. It does not depend on the session. */
export class FrameTrace {
  readonly #peer: string;
  readonly #splitters = { "→": new FrameSplitter(), "←": new FrameSplitter() };

  /** Undefined unless the environment contains `NODE_DEBUG=spop`. */
  static create(peer: string): FrameTrace | undefined {
    return debug.enabled ? new FrameTrace(peer) : undefined;
  }

  private constructor(peer: string) {
    this.#peer = peer;
  }

  received(chunk: Uint8Array): void {
    this.#follow("→", chunk);
  }

  sent(chunk: Uint8Array): void {
    this.#follow("←", chunk);
  }

  #follow(direction: "→" | "←", chunk: Uint8Array): void {
    const splitter = this.#splitters[direction];
    splitter.push(chunk);
    try {
      while (splitter.next(maxFrameBytes)) {
        debug("%s %s %s", this.#peer, direction, formatFrame(splitter.bytes, splitter.start, splitter.end));
      }
    } catch (error) {
      if (!(error instanceof FrameTooBig)) throw error;
      debug("%s %s not SPOP: %s", this.#peer, direction, error.message);
    }
  }
}
