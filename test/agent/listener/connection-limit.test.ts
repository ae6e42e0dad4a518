import { describe, expect, it } from "vitest";
import { connectionLimit } from "../../../agent/listener/connection-limit.ts";

describe("the limit of connections", () => {
  it.each([
    [256, 40, 120],
    [80, 40, 20],
    [65_536, 40, 16_384],
    [1_024, 40, 888],
    [Number.POSITIVE_INFINITY, 40, 16_384],
    [30, 40, 1],
  ])("of %d open files, of which %d are open, is %d", (maxOpenFiles, openFiles, expected) => {
    expect(connectionLimit(maxOpenFiles, openFiles)).toBe(expected);
  });

  it("is what this process can have", () => {
    expect(connectionLimit()).toBeGreaterThan(100);
  });
});
