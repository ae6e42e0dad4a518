import type { Writable } from "node:stream";

// Memory of an unsent answer besides its bytes.
const costBytes = 512;

/** What has been written to a peer, and how much of it the peer has not read. */
export class Answers {
  readonly #socket: Writable;
  /** Answers that may not have been sent yet. */
  #unsent = 0;
  writtenBytes = 0;

  constructor(socket: Writable) {
    this.#socket = socket;
  }

  get unreadBytes(): number {
    return this.#socket.writableLength;
  }

  /** The memory of those that have not been sent. */
  get heldBytes(): number {
    const { unreadBytes } = this;
    return unreadBytes === 0 ? 0 : unreadBytes + this.#unsent * costBytes;
  }

  write(answer: Buffer): void {
    if (this.unreadBytes === 0) this.#unsent = 0;
    this.#unsent++;
    this.writtenBytes += answer.length;
    this.#socket.write(answer);
  }
}
