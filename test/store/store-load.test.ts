import { beforeEach, expect, it, vi } from "vitest";
import { measureStore } from "./store-load.ts";
import { keyLimits, toLines } from "./store-table.ts";

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

// `npm run simulate:store` measures larger loads.
it("no partition key is above half of its limit at 5,000 requests a second to each of two targets", async () => {
  const uses = await measureStore({ requestsPerSecond: 5_000, targets: 2, agents: 200, workers: 10, seconds: 2 });

  for (const { writesOfOneKey, readsOfOneKey } of uses.values()) {
    expect(writesOfOneKey).toBeLessThan(keyLimits.writes / 2);
    expect(readsOfOneKey).toBeLessThan(keyLimits.reads / 2);
  }
  expect(uses.get("tally")?.largestWrite).toBeLessThan(10);
  expect(uses.get("pack")?.largestWrite).toBeLessThanOrEqual(2);
  // Each pack is recorded once at its fan-out and once at each target; packs of a group share writes.
  const packsPerSecond = 5_000 / 150;
  expect(uses.get("pack")?.writes).toBeLessThan(3 * packsPerSecond * 1.5);
  expect(uses.get("pack")?.writes).toBeGreaterThan(packsPerSecond);
  expect(toLines(uses).join("\n")).toMatch(/^tally: .* KB$/m);
});
