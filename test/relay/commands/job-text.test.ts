import { describe, expect, it } from "vitest";
import { formatFates } from "../../../relay/commands/job-text.ts";
import { type Fate, fates } from "../../../relay/state/port.ts";

describe("formatFates", () => {
  it("names each fate as the ledger does, and leaves out those without requests", () => {
    const counts = Object.fromEntries(fates.map((fate) => [fate, 0])) as Record<Fate, number>;

    expect(formatFates({ ...counts, "answered.2xx": 1_200, deadLettered: 2, sampledOut: 1, expired: 3 })).toBe(
      "sampled out 1, 2xx 1,200, expired 3, dead-lettered 2",
    );
  });
});
