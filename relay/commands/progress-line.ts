/** One line on standard error that is written over and over; nothing where that is no terminal. */
export class ProgressLine {
  readonly #everyMs = 200;
  #nextAtMs = 0;
  #shown = false;

  /** Shows the text, a few times a second at most. */
  show(text: () => string): void {
    if (!process.stderr.isTTY || Date.now() < this.#nextAtMs) return;
    this.#nextAtMs = Date.now() + this.#everyMs;
    this.#shown = true;
    process.stderr.write(`\r\x1b[2K${text()}`);
  }

  /** To be called before anything else is printed. */
  clear(): void {
    if (this.#shown) process.stderr.write("\r\x1b[2K");
    this.#shown = false;
  }
}
