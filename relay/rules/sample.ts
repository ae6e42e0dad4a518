import crypto from "node:crypto";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { keyOf, type RequestKey } from "./request-key.ts";

/** Requests with the same key are all in the sample or all out. */
export type StickyBy = RequestKey & {
  /** Whether a request without a key is in or out. */
  readonly missing: "in" | "out";
};

export interface Sample {
  /** 0 to 1. */
  readonly fraction: number;
  readonly stickyBy?: StickyBy;
}

/**
 * Whether a request belongs to the sample. The result depends only on the arguments, so it is the same in every agent,
 * retry and redelivery. `salt` (the target's name) makes the samples of two targets independent.
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

// A hash as a number: uniform in [0, 1), with 48 bits.
function position(salt: string, key: string): number {
  return crypto.hash("sha256", `${salt}\0${key}`, "buffer").readUIntBE(0, 6) / 2 ** 48;
}
