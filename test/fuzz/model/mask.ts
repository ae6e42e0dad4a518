import { createHmac } from "node:crypto";
import type { ModelRules } from "./rules.ts";
import { Unspecified } from "./unspecified.ts";

// relay/README.md, Redaction: beyond these, more is masked than the rules name.
const maxHeadValues = 256;
const maxHeadChars = 64 * 1024;
const maxBodyValues = 1_024;
const maxBodyChars = 1024 * 1024;

/** Masks the values of one head or body. Counts them, because what becomes of too many is not modelled. */
export class Mask {
  readonly #key: string | undefined;
  readonly #maxValues: number;
  readonly #maxChars: number;
  #values = 0;

  private constructor({ key }: ModelRules, maxValues: number, maxChars: number) {
    this.#key = key?.value;
    this.#maxValues = maxValues;
    this.#maxChars = maxChars;
  }

  static ofHead(rules: ModelRules): Mask {
    return new Mask(rules, maxHeadValues, maxHeadChars);
  }

  static ofBody(rules: ModelRules): Mask {
    return new Mask(rules, maxBodyValues, maxBodyChars);
  }

  /** The mask of a value: the same for equal values, and for other values another, if there is a key. */
  of(value: string): string {
    this.#values++;
    if (this.#key === undefined) return "redacted";
    const hmac = createHmac("sha256", this.#key).update(Buffer.from(value, "latin1")).digest("base64");
    return `redacted-${hmac.slice(0, 16).replaceAll("+", "-").replaceAll("/", "_")}`;
  }

  /** Counts the most values that a text can have of which nothing else is known. */
  countMost(text: string): void {
    this.#values += text.split(/[=%]/).length;
  }

  /** Throws `Unspecified` if the texts, or their masked values, were too many. */
  assertLimits(texts: readonly string[]): void {
    const chars = texts.reduce((sum, { length }) => sum + length, 0);
    if (chars > this.#maxChars || this.#values > this.#maxValues) throw new Unspecified("beyond a limit");
  }
}
