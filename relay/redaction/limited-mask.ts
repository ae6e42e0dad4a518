import { redacted } from "./value-mask.ts";

/** What is masked one by one in a head or body. */
export interface MaskLimits {
  readonly values: number;
  /** Characters of the texts in which values are searched for. */
  readonly chars: number;
}

/**
 * Masks the values of one head or body at a time, up to limits: with thousands of short values, a client could otherwise hold up the
 * agent, and make the request many times as large as it was.
 */
export class LimitedMask {
  readonly #mask: (value: string) => string;
  #values = 0;
  #chars = 0;

  constructor(mask: (value: string) => string) {
    this.#mask = mask;
  }

  /** Begins another head or body. */
  begin({ values, chars }: MaskLimits): void {
    this.#values = values;
    this.#chars = chars;
  }

  /** The mask of a value. Beyond the limit it is the same for all, also with a key. */
  readonly mask = (value: string): string => (--this.#values < 0 ? redacted : this.#mask(value));

  /** Whether there were more values than the limit allows: the rest of the text is to be masked as one. */
  get isSpent(): boolean {
    return this.#values < 0;
  }

  /** False if a text is too long to be searched: it is to be masked as a whole. */
  mayRead(chars: number): boolean {
    this.#chars -= chars;
    return this.#chars >= 0;
  }
}
