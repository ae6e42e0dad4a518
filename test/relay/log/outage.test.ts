import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Outage } from "../../../relay/log/outage.ts";
import { LogLines } from "../../support/data/log-lines.ts";

const texts = { down: ["down", "it fails"], up: ["up", "it works again"], about: { queue: "q" } } as const;

let lines: LogLines;
let outage: Outage<"AWAY" | "DENIED">;

beforeEach(() => {
  lines = new LogLines();
  outage = new Outage(lines.log, texts, ["AWAY", "DENIED"]);
});

describe("an outage", () => {
  it("is logged at once, then once a minute with the number of failures that were not logged", () => {
    for (let nowMs = 0; nowMs <= 120_000; nowMs += 1_000) outage.fail(`at ${nowMs}`, { code: "AWAY", nowMs });

    expect(lines.lines).toMatchObject([
      { level: "error", event: "down", queue: "q", code: "AWAY", reason: "at 0" },
      { reason: "at 60000", heldBack: 59 },
      { reason: "at 120000", heldBack: 59 },
    ]);
    expect(lines.lines[0]).not.toHaveProperty("heldBack");
  });

  it("counts failures by code, and has the latest reason", () => {
    outage.fail("no answer", { code: "AWAY", nowMs: 0 });
    outage.fail("no answer", { code: "AWAY", nowMs: 1 });
    outage.fail("no permission", { code: "DENIED", nowMs: 2 });

    expect([...outage.failures]).toEqual([
      ["AWAY", 2],
      ["DENIED", 1],
    ]);
    expect(outage.problem).toBe("no permission");
  });

  it("is logged at once if the code changes", () => {
    outage.fail("no answer", { code: "AWAY", nowMs: 0 });
    outage.fail("no permission", { code: "DENIED", nowMs: 1 });

    expect(lines.lines.map(({ code }) => code)).toEqual(["AWAY", "DENIED"]);
  });

  it("ends with a recovery, which is logged once, with how long it was and how many failures it had", () => {
    outage.fail("no answer", { code: "AWAY", nowMs: 1_000 });
    outage.fail("no answer", { code: "AWAY", nowMs: 2_000 });
    outage.recover({ nowMs: 31_000 });
    outage.recover({ nowMs: 32_000 });

    expect(outage.problem).toBeUndefined();
    expect(lines.lines).toMatchObject([
      { event: "down" },
      { level: "info", event: "up", queue: "q", downMs: 30_000, failures: 2 },
    ]);
  });

  it("is logged each time if there are a few in a minute", () => {
    for (let nowMs = 0; nowMs < 15_000; nowMs += 5_000) {
      outage.fail("no answer", { code: "AWAY", nowMs });
      outage.recover({ nowMs: nowMs + 1_000 });
    }

    expect(lines.events).toEqual(["down", "up", "down", "up", "down", "up"]);
  });

  it("does not fill the log if it begins and ends each second, and is logged once it stays", () => {
    for (let nowMs = 0; nowMs < 50_000; nowMs += 1_000) {
      outage.fail("no answer", { code: "AWAY", nowMs });
      outage.recover({ nowMs });
    }
    expect(lines.lines.length).toBe(10);

    for (let nowMs = 50_000; nowMs < 70_000; nowMs += 1_000) outage.fail("no answer", { code: "AWAY", nowMs });
    expect(lines.lines.slice(10)).toMatchObject([{ event: "down", heldBack: 55 }]);
  });

  it("always leaves a log whose last line tells the state, once failures went on for a minute", () => {
    const steps = fc.array(
      fc.record({ fails: fc.boolean(), code: fc.constantFrom("AWAY", "DENIED"), afterMs: fc.nat(30_000) }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, fc.boolean(), (before, endsDown) => {
        const log = new LogLines();
        const state = new Outage<string>(log.log, texts);
        let nowMs = 0;
        for (const { fails, code, afterMs } of before) {
          nowMs += afterMs;
          if (fails) state.fail("no answer", { code, nowMs });
          else state.recover({ nowMs });
        }
        if (endsDown) for (let i = 0; i <= 60; i++) state.fail("no answer", { code: "AWAY", nowMs: nowMs + i * 1_000 });
        else state.recover({ nowMs });

        const last = log.events.at(-1);
        expect(last).toBe(endsDown ? "down" : last === undefined ? undefined : "up");
      }),
    );
  });

  it("counts every failure exactly once: in a line of its own, or held back", () => {
    const steps = fc.array(fc.record({ fails: fc.boolean(), afterMs: fc.nat(20_000) }), { maxLength: 100 });
    fc.assert(
      fc.property(steps, (all) => {
        const log = new LogLines();
        const state = new Outage(log.log, texts);
        let nowMs = 0;
        for (const { fails, afterMs } of all) {
          nowMs += afterMs;
          if (fails) state.fail("no answer", { nowMs });
          else state.recover({ nowMs });
        }
        nowMs += 120_000;
        state.recover({ nowMs });
        state.fail("the last one", { nowMs });

        const downs = log.lines.filter(({ event }) => event === "down");
        const told = downs.reduce((sum, { heldBack = 0 }) => sum + 1 + Number(heldBack), 0);
        expect(told).toBe(all.filter(({ fails }) => fails).length + 1);
      }),
    );
  });
});
