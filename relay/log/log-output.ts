import { write, writeSync } from "node:fs";

// Limit of unwritten log lines while the reader is slow. Further lines are dropped: traffic must not wait for the log.
const maxHeldBytes = 1024 * 1024;
// How long the process waits at its exit for unwritten lines.
const flushWithinMs = 500;
const retryMs = 100;

/**
 * Writes lines to a file descriptor without blocking the event loop. If a write fails, for example on a full disk, the
 * lines are held and written with the next one. A failing log neither ends the process nor keeps it running.
 */
export class LogOutput {
  readonly #fd: number;
  /** Bytes that are being written or failed to be written. */
  #current: Buffer = Buffer.alloc(0);
  #next: string[] = [];
  #nextBytes = 0;
  #writing = false;
  #closed = false;
  readonly #waiting = new Set<() => void>();

  constructor(fd: number) {
    this.#fd = fd;
    process.on("exit", () => this.flushSync());
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#closed || this.#current.length + this.#nextBytes + bytes > maxHeldBytes) return;
    this.#next.push(line);
    this.#nextBytes += bytes;
    if (!this.#writing) this.#write();
  }

  /** Calls `done` when everything is written, or after 500 ms. */
  flush(done: () => void = () => {}): void {
    const finish = (): void => {
      clearTimeout(timer);
      if (this.#waiting.delete(finish)) done();
    };
    const timer = setTimeout(finish, flushWithinMs);
    this.#waiting.add(finish);
    if (!this.#writing) this.#write();
  }

  /**
   * At process exit: writes the lines that are not being written already. Stops at the first permanent error or after
   * 500 ms.
   */
  flushSync(): void {
    let left = this.#takeNext(this.#writing ? Buffer.alloc(0) : this.#current);
    const endMs = performance.now() + flushWithinMs;
    while (left.length > 0 && performance.now() < endMs) {
      try {
        left = left.subarray(writeSync(this.#fd, left));
      } catch (error) {
        if (!isTemporary(error as NodeJS.ErrnoException)) break;
      }
    }
    if (!this.#writing) this.#current = left;
  }

  #write(): void {
    if (this.#current.length === 0) this.#current = this.#takeNext(this.#current);
    if (this.#current.length === 0) {
      for (const finish of this.#waiting) finish();
      return;
    }
    this.#writing = true;
    write(this.#fd, this.#current, (error, bytes) => {
      if (error && isTemporary(error)) {
        setTimeout(() => this.#write(), retryMs);
        return;
      }
      this.#writing = false;
      if (error) return this.#fail(error);
      this.#current = this.#current.subarray(bytes);
      this.#write();
    });
  }

  // Ends all waits for `flush`. Keeps the rest of a partly written line, so that the next line does not start inside
  // it.
  #fail({ code }: NodeJS.ErrnoException): void {
    if (code === "EPIPE") {
      this.#closed = true;
      this.#current = this.#takeNext(this.#current).subarray(0, 0);
    }
    for (const finish of this.#waiting) finish();
  }

  #takeNext(before: Buffer): Buffer {
    const all = Buffer.concat([before, Buffer.from(this.#next.join(""))]);
    this.#next = [];
    this.#nextBytes = 0;
    return all;
  }
}

/** Whether the write may succeed later, for example into a pipe whose reader is slow. */
function isTemporary({ code }: NodeJS.ErrnoException): boolean {
  return code === "EAGAIN" || code === "EBUSY" || code === "EINTR";
}
