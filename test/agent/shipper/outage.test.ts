import { beforeEach, describe, expect, it } from "vitest";
import { Outage } from "../../../agent/shipper/outage.ts";
import { LogLines } from "../../support/data/log-lines.ts";

let lines: LogLines;
let outage: Outage<"AWAY" | "DENIED">;

beforeEach(() => {
  lines = new LogLines();
  const texts = { down: ["down", "it fails"], up: ["up", "it works again"] } as const;
  outage = new Outage(["AWAY", "DENIED"], texts, lines.log);
});

describe("an outage", () => {
  it("is logged at once, then once a minute with the number of failures that were not logged", () => {
    for (let nowMs = 0; nowMs <= 120_000; nowMs += 1_000) outage.fail("AWAY", `at ${nowMs}`, nowMs);

    expect(lines.lines).toMatchObject([
      { level: "error", event: "down", code: "AWAY", reason: "at 0" },
      { reason: "at 60000", heldBack: 59 },
      { reason: "at 120000", heldBack: 59 },
    ]);
    expect(lines.lines[0]).not.toHaveProperty("heldBack");
  });

  it("counts failures by code, and has the latest reason", () => {
    outage.fail("AWAY", "no answer", 0);
    outage.fail("AWAY", "no answer", 1);
    outage.fail("DENIED", "no permission", 2);

    expect([...outage.failures]).toEqual([
      ["AWAY", 2],
      ["DENIED", 1],
    ]);
    expect(outage.problem).toBe("no permission");
  });

  it("is logged at once if the code changes", () => {
    outage.fail("AWAY", "no answer", 0);
    outage.fail("DENIED", "no permission", 1);

    expect(lines.lines.map(({ code }) => code)).toEqual(["AWAY", "DENIED"]);
  });

  it("ends with a recovery, which is logged once", () => {
    outage.fail("AWAY", "no answer", 0);
    outage.recover();
    outage.recover();

    expect(outage.problem).toBeUndefined();
    expect(lines.events).toEqual(["down", "up"]);
  });

  it("does not fill the log if it begins and ends each second", () => {
    for (let nowMs = 0; nowMs < 60_000; nowMs += 1_000) {
      outage.fail("AWAY", "no answer", nowMs);
      outage.recover();
    }

    expect(lines.events).toEqual(["down", "up"]);
    expect(outage.problem).toBeUndefined();
  });
});
