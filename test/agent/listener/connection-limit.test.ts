import { describe, expect, it } from "vitest";
import { adminConnectionLimit, connectionLimit } from "../../../agent/listener/connection-limit.ts";

describe("the limit of connections", () => {
  it.each([
    [256, 40, 120],
    [80, 40, 20],
    [65_536, 40, 16_384],
    [1_024, 40, 792],
    [Number.POSITIVE_INFINITY, 40, 16_384],
    [30, 40, 1],
  ])("of %d open files, of which %d are open, is %d", (maxOpenFiles, openFiles, expected) => {
    expect(connectionLimit(maxOpenFiles, openFiles)).toBe(expected);
  });

  it.each([
    [4, 1],
    [256, 32],
    [1_024, 128],
    [4_096, 512],
    [Number.POSITIVE_INFINITY, 512],
  ])("of %d open files is %d at agent.admin", (maxOpenFiles, expected) => {
    expect(adminConnectionLimit(maxOpenFiles)).toBe(expected);
  });

  it("leaves 64 descriptors for the queue, even if both addresses have all connections that they take", () => {
    for (let maxOpenFiles = 512; maxOpenFiles < 20_000; maxOpenFiles += 7) {
      const taken = connectionLimit(maxOpenFiles, 40) + adminConnectionLimit(maxOpenFiles);
      expect(maxOpenFiles - 40 - taken).toBeGreaterThanOrEqual(64);
    }
  });

  it("is what this process can have", () => {
    expect(connectionLimit()).toBeGreaterThan(100);
  });
});
