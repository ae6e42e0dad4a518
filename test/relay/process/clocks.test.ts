import fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { watchClock } from "../../../relay/process/clock-watch.ts";
import { createForwardClock, type MachineClock, machineClock } from "../../../relay/process/machine-clock.ts";
import { SettledClock } from "../../../relay/process/settled-clock.ts";
import { LogLines } from "../../support/data/log-lines.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const startMs = Date.UTC(2026, 11);

describe("machineClock", () => {
  it("counts the time for which the machine runs, whatever the wall clock says", () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 5 * dayMs });
    onTestFinished(() => void vi.useRealTimers());
    const before = machineClock.uptimeMs();
    vi.setSystemTime(Date.now() + 9 * dayMs);

    expect(machineClock.uptimeMs() - before).toBeGreaterThanOrEqual(0);
    expect(machineClock.uptimeMs() - before).toBeLessThan(minuteMs);
  });
});

describe("createForwardClock", () => {
  it("is never set back, and passes no more slowly than either clock", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(dayMs), fc.integer({ min: -dayMs, max: dayMs }))), (steps) => {
        const machine = new SimulatedMachine();
        const nowMs = createForwardClock(machine);
        let before = nowMs();
        for (const [passMs, jumpMs] of steps) {
          machine.pass(passMs);
          machine.wall += jumpMs;
          const after = nowMs();
          expect(after - before).toBe(Math.max(passMs, passMs + jumpMs));
          before = after;
        }
      }),
    );
  });
});

describe("SettledClock", () => {
  it("does not know the time within an hour of its first look", () => {
    const machine = new SimulatedMachine();
    const clock = new SettledClock(machine);

    expect(minutes(machine, clock, 60).every((nowMs) => nowMs === undefined)).toBe(true);
    expect(minutes(machine, clock, 2).at(-1)).toBe(machine.wall);
  });

  it("ignores a clock that is ahead for less than an hour, and follows one that stays there", () => {
    const machine = new SimulatedMachine();
    const clock = new SettledClock(machine);
    minutes(machine, clock, 70);
    machine.wall += 5 * dayMs;
    const during = minutes(machine, clock, 58).map((nowMs) => (nowMs as number) - machine.wall);
    machine.wall -= 5 * dayMs;
    const [after] = minutes(machine, clock, 1);
    machine.wall += 5 * dayMs;
    const stayed = minutes(machine, clock, 62).at(-1);

    expect(Math.max(...during)).toBeLessThan(-4 * dayMs);
    expect(after).toBe(machine.wall - 5 * dayMs - 62 * minuteMs);
    expect(stayed).toBe(machine.wall);
  });

  it("follows a clock that is set back at once", () => {
    const machine = new SimulatedMachine();
    const clock = new SettledClock(machine);
    minutes(machine, clock, 70);
    machine.wall -= 2 * hourMs;

    expect(minutes(machine, clock, 1)).toEqual([machine.wall]);
  });
});

describe("watchClock", () => {
  it("logs each jump once, by how much and in which direction, and no correction of a drift", () => {
    vi.useFakeTimers({ toFake: ["setInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const machine = new SimulatedMachine();
    const log = new LogLines();
    watchClock(log.log, machine);
    for (const jumpMs of [0, -2 * hourMs, 0, 0.5, 400, 5 * dayMs, 0]) {
      machine.pass(1_000);
      machine.wall += jumpMs;
      vi.advanceTimersByTime(1_000);
    }

    expect(log.lines.map(({ event, jumpMs, direction }) => [event, jumpMs, direction])).toEqual([
      ["clock-set", -2 * hourMs, "back"],
      ["clock-set", 5 * dayMs, "ahead"],
    ]);
  });
});

class SimulatedMachine implements MachineClock {
  readonly boot = "simulated";
  wall = startMs;
  #uptime = 12_345;

  wallMs(): number {
    return this.wall;
  }

  uptimeMs(): number {
    return this.#uptime;
  }

  pass(ms: number): void {
    this.wall += ms;
    this.#uptime += ms;
  }
}

/** What the clock shows at the end of each of so many minutes. */
function minutes(machine: SimulatedMachine, clock: SettledClock, count: number): (number | undefined)[] {
  return Array.from({ length: count }, () => {
    machine.pass(minuteMs);
    return clock.nowMs();
  });
}
