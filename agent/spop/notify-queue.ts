/**
 * Receives the list of messages of one NOTIFY: `bytes` from `start` to `end`, valid during the call. `peerFrameBytes`
 * is the `max-frame-size` that HAProxy announced.
 */
export type NotifyVisitor = (bytes: Uint8Array, start: number, end: number, peerFrameBytes: number) => void;

/** The NOTIFYs of a session that have been acknowledged and not passed on yet, in order. They are views into their chunks. */
export class NotifyQueue {
  readonly #payloads: Uint8Array[] = [];
  readonly #bounds: number[] = [];
  #heldBytes = 0;

  /** NOTIFYs that wait. */
  get length(): number {
    return this.#payloads.length;
  }

  /** The memory of the chunks and messages that it keeps. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  push(bytes: Uint8Array, start: number, end: number): void {
    if (this.#payloads.at(-1) !== bytes) this.#heldBytes += bytes.length;
    this.#payloads.push(bytes);
    this.#bounds.push(start, end);
  }

  /** Passes NOTIFYs to `visit`, one at least, while `hasTime` returns true. */
  take(visit: NotifyVisitor, peerFrameBytes: number, hasTime: () => boolean): void {
    const payloads = this.#payloads;
    let taken = 0;
    while (taken < payloads.length) {
      const bytes = payloads[taken];
      visit(bytes, this.#bounds[2 * taken], this.#bounds[2 * taken + 1], peerFrameBytes);
      taken++;
      if (payloads[taken] !== bytes) this.#heldBytes -= bytes.length;
      if (taken < payloads.length && !hasTime()) break;
    }
    if (taken === payloads.length) {
      // Without the arrays that `splice` returns: this is every chunk of a healthy HAProxy.
      payloads.length = 0;
      this.#bounds.length = 0;
    } else {
      payloads.splice(0, taken);
      this.#bounds.splice(0, 2 * taken);
    }
  }
}
