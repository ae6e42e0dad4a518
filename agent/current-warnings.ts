// Longer than the pauses between requests of a quiet front end.
const currentMs = 10 * 60_000;

/** What is wrong with HAProxy's configuration, until ten minutes after the last message that shows it. */
export class CurrentWarnings {
  readonly #seenAtMs = new Map<string, number>();

  /** Returns true if the warning is new. */
  note(warning: string, nowMs: number): boolean {
    const isNew = !this.#seenAtMs.has(warning);
    this.#seenAtMs.set(warning, nowMs);
    return isNew;
  }

  at(nowMs: number): string[] {
    return [...this.#seenAtMs].filter(([, seenAtMs]) => nowMs - seenAtMs <= currentMs).map(([warning]) => warning);
  }
}
