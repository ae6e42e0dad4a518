import { write, writeSync } from "node:fs";

// What may be held back while the reader is slow; beyond it lines are lost, since production must not wait for a log.
const maxHeldBytes = 1024 * 1024;
// How long the end of the process waits for what cannot be written.
const flushWithinMs = 500;
const retryMs = 100;

/**
 * Writes lines to a file descriptor without ever blocking the event loop. What cannot be written, on a full disk for example,
 * is held back and tried again with the next line: it neither ends the process nor keeps it from ending.
 */
export class LogOutput {
  readonly #fd: number;
  /** What is being written, or could not be. */
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

  /** Calls back when all is written, and after half a second at the latest. */
  flush(done: () => void = () => {}): void {
    const finish = (): void => {
      clearTimeout(timer);
      if (this.#waiting.delete(finish)) done();
    };
    const timer = setTimeout(finish, flushWithinMs);
    this.#waiting.add(finish);
    if (!this.#writing) this.#write();
  }

  /** For the end of the process: writes what no one else is writing, and gives up at the first error that does not pass. */
  flushSync(): void {
    let left = this.#takeNext(this.#writing ? Buffer.alloc(0) : this.#current);
    const endMs = Date.now() + flushWithinMs;
    while (left.length > 0 && Date.now() < endMs) {
      try {
        left = left.subarray(writeSync(this.#fd, left));
      } catch (error) {
        if (!passes(error as NodeJS.ErrnoException)) break;
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
      if (error && passes(error)) {
        setTimeout(() => this.#write(), retryMs);
        return;
      }
      this.#writing = false;
      if (error) return this.#fail(error);
      this.#current = this.#current.subarray(bytes);
      this.#write();
    });
  }

  // Nobody waits in vain. The rest of a line stays, so that no other is written into the middle of it.
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

// A pipe whose reader is slow.
function passes({ code }: NodeJS.ErrnoException): boolean {
  return code === "EAGAIN" || code === "EBUSY" || code === "EINTR";
}
