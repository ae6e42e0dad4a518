import { describe, expect, it } from "vitest";
import { isFedByOther } from "../../../functions/schedule/job-feed.ts";
import { job } from "../../support/data/jobs.ts";

const nowMs = Date.UTC(2026, 11);
const hourMs = 3_600_000;

describe("the lease of another process", () => {
  it.each([
    ["that ends soon, counts", 6_000, true],
    ["of a function, counts", 30_000, true],
    ["that has ended, does not count", 0, false],
    ["that was taken before the clock was set back by two hours, does not count", 2 * hourMs + 6_000, false],
    ["that was taken in 2100, does not count", Date.UTC(2100, 0) - nowMs, false],
  ])("%s", (_, leftMs, counts) => {
    const leased = job({ lease: { owner: "other", untilMs: nowMs + leftMs } });

    expect(isFedByOther(leased, "self", nowMs)).toBe(counts);
    expect(isFedByOther(leased, "other", nowMs)).toBe(false);
  });
});
