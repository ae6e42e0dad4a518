import crypto from "node:crypto";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { keyOf, type RequestKey } from "./request-key.ts";

/** What decides together: all requests with the same key are in, or all are out. */
export type StickyBy = RequestKey & {
  /** Whether a request without the key is in or out. */
  readonly missing: "in" | "out";
};

export interface Sample {
  /** 0 to 1. */
  readonly fraction: number;
  readonly stickyBy?: StickyBy;
}

/**
 * Whether a request belongs to the sample. The answer depends on nothing but the arguments, so every agent, every retry and
 * every redelivery gives the same one. `salt` (the target's name) keeps two samples of the same traffic independent.
 */
export function isSampled(
  sample: Sample,
  salt: string,
  request: Pick<CapturedRequest, "id" | "headers" | "src">,
): boolean {
  if (sample.fraction >= 1) return true;
  if (sample.fraction <= 0) return false;
  if (!sample.stickyBy) return position(salt, request.id) < sample.fraction;
  const key = keyOf(sample.stickyBy, request);
  if (key === undefined) return sample.stickyBy.missing === "in";
  return position(salt, key) < sample.fraction;
}

// Evenly spread over [0, 1), 48 bits deep.
function position(salt: string, key: string): number {
  return crypto.hash("sha256", `${salt}\0${key}`, "buffer").readUIntBE(0, 6) / 2 ** 48;
}
