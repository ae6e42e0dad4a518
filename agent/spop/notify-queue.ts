/**
 * How far a NOTIFY has been read. A visitor may stop between two messages, if there is no time left, and gets the same object
 * when it goes on.
 */
export interface NotifyProgress {
  readonly hasTime: () => boolean;
  /** Where the visitor stopped: the offset of the next message. -1 if it has read all. */
  nextAt: number;
  /** What the visitor has read of this NOTIFY so far, for limits. */
  messages: number;
  headers: number;
  responseHeaders: number;
}

/**
 * Receives the list of messages of one NOTIFY: `bytes` from `start` to `end`, valid during the call. `peerFrameBytes`
 * is the `max-frame-size` that HAProxy announced.
 */
export type NotifyVisitor = (
  bytes: Uint8Array,
  start: number,
  end: number,
  peerFrameBytes: number,
  progress: NotifyProgress,
) => void;

/** The NOTIFYs of a session that have been acknowledged and not passed on yet, in order. They are views into their chunks. */
export class NotifyQueue {
  readonly #payloads: Uint8Array[] = [];
  readonly #bounds: number[] = [];
  #heldBytes = 0;
  #hasTime = () => true;
  readonly #progress = { hasTime: () => this.#hasTime(), nextAt: -1, messages: 0, headers: 0, responseHeaders: 0 };

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

  /** Passes NOTIFYs to `visit`, one message at least, while `hasTime` returns true. */
  take(visit: NotifyVisitor, peerFrameBytes: number, hasTime: () => boolean): void {
    const payloads = this.#payloads;
    this.#hasTime = hasTime;
    let taken = 0;
    while (taken < payloads.length) {
      const bytes = payloads[taken];
      if (!this.#visit(visit, bytes, taken, peerFrameBytes)) break;
      taken++;
      if (payloads[taken] !== bytes) this.#heldBytes -= bytes.length;
      if (taken < payloads.length && !hasTime()) break;
    }
    if (taken === payloads.length) {
      // Without the arrays that `splice` returns: this is every chunk of a healthy HAProxy.
      payloads.length = 0;
      this.#bounds.length = 0;
    } else if (taken > 0) {
      payloads.splice(0, taken);
      this.#bounds.splice(0, 2 * taken);
    }
  }

  /** Returns false if the visitor stopped between two messages. */
  #visit(visit: NotifyVisitor, bytes: Uint8Array, index: number, peerFrameBytes: number): boolean {
    const progress = this.#progress;
    visit(bytes, this.#bounds[2 * index], this.#bounds[2 * index + 1], peerFrameBytes, progress);
    if (progress.nextAt >= 0) {
      this.#bounds[2 * index] = progress.nextAt;
      progress.nextAt = -1;
      return false;
    }
    if (progress.messages > 0) {
      progress.messages = 0;
      progress.headers = 0;
      progress.responseHeaders = 0;
    }
    return true;
  }
}
