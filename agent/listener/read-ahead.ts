// With a turn of a millisecond for each, many connections may wait. HAProxy's next request does not, unless it has sent this much before.
const mostBytes = 256 * 1024;
// Small frames cost more than their bytes: a chunk of 64 KiB can have 6,000.
const mostFrames = 256;

/** What a connection has read and acknowledged while it waits for its turn. */
export class ReadAhead {
  #bytes = 0;
  #frames = 0;

  add(bytes: number, frames: number): void {
    this.#bytes += bytes;
    this.#frames += frames;
  }

  /** Starts anew with what a turn has left. */
  restart(bytes: number, frames: number): void {
    this.#bytes = bytes;
    this.#frames = frames;
  }

  /** True if the connection should read nothing more before its turn. */
  get full(): boolean {
    return this.#bytes > mostBytes || this.#frames > mostFrames;
  }
}
