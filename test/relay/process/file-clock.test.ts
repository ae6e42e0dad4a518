import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { FileClock } from "../../../relay/process/file-clock.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const startMs = Date.UTC(2026, 11);
// Of machines that cannot read a boot id, all have the same.
const noBootId = " time:[4026531834]";

describe("FileClock", () => {
  it.each([
    ["with the same boot text, which has run for 100 days more", noBootId, 100 * dayMs],
    ["without any boot text, which has run for 100 days more", " ", 100 * dayMs],
    ["which has run for a minute", noBootId, minuteMs],
    ["with another boot id, which has run for 100 days more", "b", 100 * dayMs],
  ])("counts an hour at most when its file is moved to a machine %s", (_, boot, uptimeMs) => {
    const database = new DatabaseSync(":memory:");
    const before = new FileClock(database, machine(boot === "b" ? "a" : boot, hourMs, startMs));
    const atMs = before.nowMs();
    const after = new FileClock(database, machine(boot, uptimeMs, startMs + 30 * dayMs));

    expect(after.nowMs() - atMs).toBeGreaterThanOrEqual(0);
    expect(after.nowMs() - atMs).toBeLessThanOrEqual(hourMs);
  });

  it.each([noBootId, "a"])(
    "is the same for a process that opens the file later on the same machine (boot %j)",
    (boot) => {
      const database = new DatabaseSync(":memory:");
      const clocks = [1, 2, 30].map((minutes) => new FileClock(database, machine(boot, minutes * minuteMs, startMs)));

      expect(clocks.map((clock) => clock.nowMs() - clocks[0].nowMs())).toEqual([0, minuteMs, 29 * minuteMs]);
    },
  );

  it("knows how old it is, also after a start of the machine", () => {
    const database = new DatabaseSync(":memory:");
    const made = new FileClock(database, machine("a", hourMs, startMs));
    const later = new FileClock(database, machine("b", minuteMs, startMs + 20 * minuteMs));

    expect([made.ageMs, later.ageMs]).toEqual([0, 20 * minuteMs]);
  });
});

function machine(boot: string, uptimeMs: number, wallMs: number) {
  return { boot, uptimeMs: () => uptimeMs, wallMs: () => wallMs };
}
