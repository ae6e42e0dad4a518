import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import type { Outcome } from "../../../relay/replay/outcome.ts";
import { TargetLog } from "../../../relay/replay/target-log.ts";
import { changeSettings } from "../../../relay/state/target-control.ts";
import { openState } from "../../support/data/lanes.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { target } from "../../support/data/targets.ts";

const refused: Outcome = { kind: "undelivered", reason: "ECONNREFUSED", away: true };
const answered: Outcome = { kind: "answered", status: 200 };
const overloaded: Outcome = { kind: "undelivered", reason: "429", retryAfterMs: 1_000 };
const breaker = { failures: 3, probeAfterMs: 1_000 };

describe("the log of a target", () => {
  it("has the first failure and the opening of the breaker at once, and each state until the shadow is back", async () => {
    const world = new World({ breaker });
    const host = world.host();
    await host.send(refused);
    expect(host.log.lines).toMatchObject([
      { level: "error", event: "shadow-failing", target: "staging", reason: "ECONNREFUSED" },
    ]);

    await host.send(refused, refused);
    expect(host.log.lines.at(-1)).toMatchObject({ level: "error", event: "breaker-open", reason: "ECONNREFUSED" });

    world.nowMs += 1_000;
    await host.send(refused);
    world.nowMs += 2_000;
    await host.send(answered);
    expect(host.log.events).toEqual([
      "shadow-failing",
      "breaker-open",
      "breaker-half-open",
      "breaker-half-open",
      "shadow-answers",
      "breaker-closed",
    ]);
    expect(host.log.lines.at(-1)).toMatchObject({ level: "info", target: "staging", downMs: 3_000, probes: 2 });
    expect(host.log.lines.at(-2)).toMatchObject({ level: "info", downMs: 3_000, failures: 4 });
  });

  it("has at most five lines a minute of an outage that goes on, with the number of those held back", async () => {
    const world = new World({ breaker });
    const host = world.host();
    await host.send(refused, refused, refused);
    const startMs = world.nowMs;
    while (world.nowMs < startMs + 600_000) {
      world.nowMs += 1_000;
      await host.send(refused);
    }

    expect(host.log.lines.length).toBeLessThan(50);
    expect(host.log.lines.filter(({ event }) => event === "breaker-open").length).toBeGreaterThanOrEqual(9);
    expect(host.log.lines.findLast(({ event }) => event === "shadow-failing")).toHaveProperty("heldBack");
  });

  it("has one warning of a setting that an older version left out of bounds, until it is set again", async () => {
    const world = new World();
    const host = world.host();
    for (const ratePerSecond of [1e300, 1e300, 50, 1e9]) {
      await world.change({ ratePerSecond });
      world.nowMs += 2_000;
      await host.send(answered);
    }

    expect(host.live.ratePerSecond).toBe(1_000_000);
    expect(host.log.lines).toMatchObject(
      ["1e+300", "1000000000"].map((number) => ({
        level: "warn",
        event: "setting-repaired",
        target: "staging",
        reason: `settings.ratePerSecond is ${number}, read as 1000000`,
      })),
    );
  });

  it("has a slowdown when it begins and when the rate is full again", async () => {
    const world = new World();
    const host = world.host();
    await host.send(overloaded);
    world.nowMs += 1_000;
    await host.send(overloaded);
    for (let second = 0; second < 30; second++) {
      world.nowMs += 1_000;
      await host.live.refresh();
    }

    expect(host.log.lines).toMatchObject([
      { level: "warn", event: "slowed-down", target: "staging", share: 0.5 },
      { level: "info", event: "full-rate", failures: 2 },
    ]);
  });

  it("has a pause when it begins and ends", async () => {
    const world = new World();
    const host = world.host();
    await world.change({ paused: true });
    await host.live.refresh();
    await world.change({ paused: null });
    world.nowMs += 1_000;
    await host.live.refresh();

    expect(host.log.lines).toMatchObject([{ event: "target-held", reason: "paused" }, { event: "target-released" }]);
  });

  it("has, in a host that starts later or did nothing itself, that the breaker is open and when it closes", async () => {
    const world = new World({ breaker });
    const first = world.host();
    await first.send(refused, refused, refused);
    world.nowMs += 500;
    const second = world.host();
    await second.live.refresh();
    world.nowMs += 1_000;
    await first.send(answered);
    world.nowMs += 1_000;
    await second.live.refresh();

    expect(second.log.lines).toMatchObject([
      { event: "breaker-open", since: new Date(world.startMs).toISOString() },
      { event: "breaker-closed", downMs: 2_500 },
    ]);
  });

  it("has each change once in Lambda, in the environment that made it", async () => {
    const world = new World({ breaker });
    const environments = Array.from({ length: 5 }, () => world.environment());
    const all = (event: string) => environments.map(({ log }) => log.events.filter((each) => each === event).length);
    for (const { live } of environments) await live.refresh();
    await environments[0].send(refused, refused, refused);
    world.nowMs += 1_000;
    for (const { live } of environments) await live.refresh();
    await environments[1].send(answered);

    expect(all("breaker-open")).toEqual([1, 0, 0, 0, 0]);
    expect(all("breaker-half-open")).toEqual([0, 1, 0, 0, 0]);
    expect(all("breaker-closed")).toEqual([0, 1, 0, 0, 0]);
  });

  it("ends with the state that the target is in, whatever happened before", async () => {
    const step = fc.record({
      outcome: fc.constantFrom(refused, refused, answered, overloaded),
      afterMs: fc.constantFrom(0, 500, 1_500, 40_000),
      by: fc.nat(1),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const world = new World({ breaker });
        const hosts = [world.host(), world.host()];
        for (const { outcome, afterMs, by } of steps) {
          world.nowMs += afterMs;
          await hosts[by].send(outcome);
        }
        // An open breaker is probed for more than a minute, after which no line is held back.
        const open = (await world.control()).breaker !== undefined;
        for (let i = 0; open && i < 4; i++) {
          world.nowMs += 31_000;
          await hosts[0].send(refused);
        }
        world.nowMs += 1_000;
        for (const { live } of hosts) await live.refresh();
        for (const { log } of hosts) {
          const last = log.events.findLast((event) => event === "breaker-open" || event === "breaker-closed");
          if (open) expect(last).toBe("breaker-open");
          else expect(last).not.toBe("breaker-open");
        }
      }),
      { numRuns: 50 },
    );
  });
});

/** The processes that send to one target: each has a log. */
class World {
  readonly startMs = 1_790_000_000_000;
  nowMs = this.startMs;
  readonly #config: TargetConfig;
  readonly #controls = openState().controls;

  constructor(changes: Partial<TargetConfig> = {}) {
    this.#config = target({ name: "staging", ...changes });
  }

  host(): Sender {
    return this.#sender(true);
  }

  /** An environment of a Lambda function. */
  environment(): Sender {
    return this.#sender(false);
  }

  async control() {
    return (await this.#controls.read("staging")).control;
  }

  async change(change: Parameters<typeof changeSettings>[1]): Promise<void> {
    const { control, version } = await this.#controls.read("staging");
    await this.#controls.write("staging", changeSettings(control, change), version);
  }

  #sender(everyChange: boolean): Sender {
    const log = new LogLines();
    const targetLog = new TargetLog({ target: "staging", log: log.log, everyChange });
    return new Sender(log, new LiveTarget(this.#config, this.#controls, () => this.nowMs, targetLog));
  }
}

class Sender {
  readonly log: LogLines;
  readonly live: LiveTarget;

  constructor(log: LogLines, live: LiveTarget) {
    this.log = log;
    this.live = live;
  }

  /** Sends requests that end so, each if the target lets it. */
  async send(...outcomes: readonly Outcome[]): Promise<void> {
    for (const outcome of outcomes) {
      const admission = await this.live.admit();
      if (admission !== "wait") await this.live.note(outcome, admission);
    }
  }
}
