import { describe, expect, it } from "vitest";
import { isIdempotent, parseRetryAfterMs } from "../../../relay/replay/outcome.ts";

const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);

describe("parseRetryAfterMs", () => {
  it.each([
    ["0", 0],
    ["120", 120_000],
    ["Fri, 02 Jan 2026 03:05:05 GMT", 60_000],
    ["Fri, 02 Jan 2026 03:04:04 GMT", 0],
    ["Friday, 02-Jan-26 03:05:05 GMT", 60_000],
  ])("reads %s", (value, ms) => {
    expect(parseRetryAfterMs(value, nowMs)).toBe(ms);
  });

  it.each(["", "soon", "12 apples", "NaN", "99999999999999999999"])("ignores %j", (value) => {
    expect(parseRetryAfterMs(value, nowMs)).toBeUndefined();
  });
});

describe("isIdempotent", () => {
  it.each(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])("holds for %s", (method) => {
    expect(isIdempotent(method)).toBe(true);
  });

  it.each(["POST", "PATCH", "PURGE", "get", ""])("does not hold for %j", (method) => {
    expect(isIdempotent(method)).toBe(false);
  });
});
