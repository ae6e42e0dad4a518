/** What a connection has done so far. */
export interface ProgressFigures {
  /** NOTIFYs that have arrived. */
  readonly completed: number;
  /** A frame or a message that was unfinished at the last look still is. */
  readonly stuck: boolean;
  /** No frame and no message is half received. */
  readonly idle: boolean;
  readonly writtenBytes: number;
  /** Of `writtenBytes`, those that the peer has not read. */
  readonly unreadBytes: number;
}

/** Compares what a connection has done with what it had done at the last look. */
export class Progress {
  readonly #idleMs: number;
  #readBytes = 0;
  #completed = 0;
  #lastMessageAtMs: number;
  #overdue = false;

  constructor(idleMs: number, nowMs: number) {
    this.#idleMs = idleMs;
    this.#lastMessageAtMs = nowMs;
  }

  /**
   * Returns "expired" if no message has arrived for `idleMs`, and none is half received or anything was at the last look, too; the
   * reason if the peer has stalled; undefined if all is well.
   */
  look(figures: ProgressFigures, nowMs: number): "expired" | { readonly stalled: string } | undefined {
    const { completed, stuck, idle, writtenBytes, unreadBytes } = figures;
    const readBytes = writtenBytes - unreadBytes;
    const unread = unreadBytes > 0 && readBytes === this.#readBytes;
    this.#readBytes = unreadBytes === 0 ? -1 : readBytes;
    if (completed !== this.#completed) this.#lastMessageAtMs = nowMs;
    this.#completed = completed;
    // A message that has begun is complete at the next look, or stuck. Only frames without a meaning can be half received at both.
    const wasOverdue = this.#overdue;
    this.#overdue = nowMs - this.#lastMessageAtMs >= this.#idleMs;
    if (stuck) return { stalled: "the peer stopped in the middle of a frame" };
    if (unread) return { stalled: "the peer does not read its ACKs" };
    return this.#overdue && (idle || wasOverdue) ? "expired" : undefined;
  }
}
