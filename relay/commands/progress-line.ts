/** A line on standard error that overwrites itself; prints nothing if standard error is not a terminal. */
export class ProgressLine {
  readonly #everyMs = 200;
  #nextAtMs = 0;
  #shown = false;

  /** Shows the text, at most every 200 ms. */
  show(text: () => string): void {
    if (!process.stderr.isTTY || performance.now() < this.#nextAtMs) return;
    this.#nextAtMs = performance.now() + this.#everyMs;
    this.#shown = true;
    process.stderr.write(`\r\x1b[2K${text()}`);
  }

  /** Call it before printing anything else. */
  clear(): void {
    if (this.#shown) process.stderr.write("\r\x1b[2K");
    this.#shown = false;
  }
}
