import { describe, expect, it } from "vitest";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { parseTimes, type Times } from "../../../relay/config/time-windows.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import type { Outcome } from "../../../relay/replay/outcome.ts";
import { type Controls, StateError } from "../../../relay/state/port.ts";
import { changeSettings } from "../../../relay/state/target-control.ts";
import { openState } from "../../support/data/lanes.ts";
import { target } from "../../support/data/targets.ts";

const refused: Outcome = { kind: "undelivered", reason: "ECONNREFUSED", away: true };
const malformed: Outcome = { kind: "malformed", reason: "Duplicate Content-Length" };
const endpointFails: readonly Outcome[] = [
  { kind: "closed", reason: "ECONNRESET" },
  { kind: "timedOut", reason: "no answer" },
  { kind: "undelivered", reason: "REFUSED_STREAM", away: false },
];
const answered: Outcome = { kind: "answered", status: 200 };
const overloaded: Outcome = { kind: "undelivered", reason: "429", retryAfterMs: 1_000 };

describe("LiveTarget: settings", () => {
  it("are those of the configuration until they are changed; a change is seen a second later", async () => {
    const bench = new LiveBench({ ratePerSecond: 200, concurrency: 8, sample: { fraction: 0.5 } });
    await bench.live.admit();
    const before = bench.settings();
    await bench.change({ ratePerSecond: 5, concurrency: 2, sample: 1 });
    bench.nowMs += 999;
    await bench.live.admit();
    const early = bench.settings();
    bench.nowMs += 1;
    await bench.live.admit();

    expect(before).toEqual([200, 8, 0.5]);
    expect(early).toEqual(before);
    expect(bench.settings()).toEqual([5, 2, 1]);
  });

  it("are read again after a second: only then has the state answered", async () => {
    const bench = new LiveBench();
    const reads = [await bench.live.refresh(), await bench.live.refresh()];
    bench.nowMs += 1_000;

    expect([...reads, await bench.live.refresh()]).toEqual([true, false, true]);
  });

  it("hold the target while it is paused", async () => {
    const bench = new LiveBench();
    await bench.change({ paused: true });
    const paused = await bench.live.admit();
    const held = bench.live.held;
    await bench.change({ paused: null });
    bench.nowMs += 1_000;

    expect([paused, held, await bench.live.admit(), bench.live.held]).toEqual(["wait", "paused", "send", undefined]);
  });

  it.each([
    [{ windows: times("22:00-06:00 Europe/Berlin") }, "2026-11-22T21:30:00Z", "send"],
    [{ windows: times("22:00-06:00 Europe/Berlin") }, "2026-11-22T12:00:00Z", "wait"],
    [{ windows: times("01:00-02:00 UTC", "12:00-13:00 UTC") }, "2026-11-22T12:00:00Z", "send"],
    [{ blackouts: times("Sun 11:00-13:00 UTC") }, "2026-11-22T12:00:00Z", "wait"],
    [{ blackouts: times("Mon-Sat 11:00-13:00 UTC") }, "2026-11-22T12:00:00Z", "send"],
  ] as const)("hold the target by its windows and blackouts: %j at %s", async (config, at, admission) => {
    const bench = new LiveBench(config);
    bench.nowMs = Date.parse(at);

    expect(await bench.live.admit()).toBe(admission);
  });

  it("are not guessed: if the state cannot be read for five seconds, nothing is sent", async () => {
    const bench = new LiveBench();
    bench.away = true;
    await expect(bench.live.admit()).rejects.toThrow(StateError);
    bench.away = false;
    await bench.live.admit();
    bench.away = true;
    bench.nowMs += 5_000;
    const stale = await bench.live.admit();
    bench.nowMs += 1;

    expect(stale).toBe("send");
    await expect(bench.live.admit()).rejects.toThrow(StateError);
  });
});

describe("LiveTarget: breaker", () => {
  it("opens after the configured number of failures in a row, and not before", async () => {
    const bench = new LiveBench({ breaker: { failures: 3, probeAfterMs: 1_000 } });
    for (const outcome of [refused, refused, answered, refused, refused]) await bench.live.note(outcome, "send");
    const before = await bench.live.admit();
    await bench.live.note(refused, "send");

    expect([before, await bench.live.admit()]).toEqual(["send", "wait"]);
    expect(bench.live.held).toMatch(/^the breaker has been open since .*: ECONNREFUSED$/);
  });

  it.each(endpointFails)(
    "stays closed while other endpoints answer, however often one fails: $reason",
    async (outcome) => {
      const bench = new LiveBench({ breaker: { failures: 3, probeAfterMs: 1_000 } });
      const admissions = new Set<string>();
      for (let s = 0; s < 60; s++, bench.nowMs += 1_000) {
        for (let i = 0; i < 20; i++) await bench.live.note(outcome, "send");
        admissions.add(await bench.live.admit());
        if (s % 5 === 0) await bench.live.note(answered, "send");
      }

      expect(admissions).toEqual(new Set(["send"]));
    },
  );

  it.each(endpointFails)("opens if nothing is answered for more than five seconds: $reason", async (outcome) => {
    const bench = new LiveBench({ breaker: { failures: 3, probeAfterMs: 1_000 } });
    await bench.live.note(answered, "send");
    bench.nowMs += 5_000;
    for (let i = 0; i < 20; i++) await bench.live.note(outcome, "send");
    const before = await bench.live.admit();
    bench.nowMs += 1;
    for (let i = 0; i < 3; i++) await bench.live.note(outcome, "send");

    expect([before, await bench.live.admit()]).toEqual(["send", "wait"]);
  });

  it("is closed by a malformed answer, which shows that the shadow is there", async () => {
    const bench = new LiveBench({ breaker: { failures: 2, probeAfterMs: 1_000 } });
    for (const outcome of [refused, malformed, refused]) await bench.live.note(outcome, "send");
    const afterOne = await bench.live.admit();
    await bench.live.note(refused, "send");
    const open = await bench.live.admit();
    await bench.live.note(malformed, "probe");

    expect([afterOne, open, await bench.live.admit()]).toEqual(["send", "wait", "send"]);
  });

  it("lets one probe of all workers through, and closes for all of them when it is answered", async () => {
    const bench = new LiveBench({ breaker: { failures: 1, probeAfterMs: 1_000 } });
    const other = bench.another();
    await bench.live.note(refused, "send");
    bench.nowMs += 1_000;
    const admissions = await Promise.all([bench.live.admit(), other.admit(), bench.live.admit()]);
    await bench.live.note(answered, "send");
    bench.nowMs += 1_000;

    expect(admissions.sort()).toEqual(["probe", "wait", "wait"]);
    expect([await bench.live.admit(), await other.admit()]).toEqual(["send", "send"]);
  });

  it("stays open if the probe fails, and doubles the wait", async () => {
    const bench = new LiveBench({ breaker: { failures: 1, probeAfterMs: 1_000 }, timeoutMs: 500 });
    await bench.live.note(refused, "send");
    const probes = [];
    for (let s = 0; s <= 8; s++, bench.nowMs += 1_000) {
      const admission = await bench.live.admit();
      if (admission === "probe") probes.push(s);
      if (admission === "probe") await bench.live.note(refused, admission);
    }

    expect(probes).toEqual([1, 3, 7]);
  });

  it("lets a probe through at once if a worker whose clock is an hour ahead opened it", async () => {
    const bench = new LiveBench({ breaker: { failures: 1, probeAfterMs: 1_000 } });
    await bench.another(3_600_000).note(refused, "send");

    expect(await bench.live.admit()).toBe("probe");
  });

  it("waits for the configured time before it lets a probe through, even if that is an hour", async () => {
    const bench = new LiveBench({ breaker: { failures: 1, probeAfterMs: 3_600_000 } });
    await bench.live.note(refused, "send");
    bench.nowMs += 3_599_999;
    const early = await bench.live.admit();
    bench.nowMs += 1;

    expect([early, await bench.live.admit()]).toEqual(["wait", "probe"]);
  });

  it("sends no probe to a target that is paused", async () => {
    const bench = new LiveBench({ breaker: { failures: 1, probeAfterMs: 1_000 } });
    await bench.live.note(refused, "send");
    await bench.change({ paused: true });
    bench.nowMs += 5_000;

    expect(await bench.live.admit()).toBe("wait");
  });
});

describe("LiveTarget: a shadow that asks for less", () => {
  it("receives half of the rate, and the whole rate ten seconds later", async () => {
    const bench = new LiveBench({ ratePerSecond: 100 });
    await bench.live.note(overloaded, "send");
    await bench.live.note(overloaded, "send");
    const half = bench.live.ratePerSecond;
    bench.nowMs += 10_000;
    await bench.live.admit();

    expect([half, bench.live.ratePerSecond]).toEqual([50, 100]);
  });

  it("receives the whole rate at once if a worker whose clock is an hour ahead noted the slowdown", async () => {
    const bench = new LiveBench({ ratePerSecond: 100 });
    await bench.another(3_600_000).note(overloaded, "send");
    await bench.live.admit();

    expect(bench.live.ratePerSecond).toBe(100);
  });

  it.each([
    [10, 10 / 64],
    [0.5, 0.1],
    [0.1, 0.1],
    [10 / 3_600, 10 / 3_600],
  ])("is slowed from %f requests a second to %f, and no further", async (ratePerSecond, leastPerSecond) => {
    const bench = new LiveBench({ ratePerSecond });
    await bench.slowDown(1 / 64);
    await bench.live.admit();

    expect(bench.live.ratePerSecond).toBe(leastPerSecond);
  });

  it("receives fewer concurrent requests if its rate has no limit", async () => {
    const bench = new LiveBench({ concurrency: 8 });
    await bench.live.note(overloaded, "send");

    expect([bench.live.ratePerSecond, bench.live.concurrency]).toEqual([Number.POSITIVE_INFINITY, 4]);
  });

  it("does not count as a failure of the breaker", async () => {
    const bench = new LiveBench({ breaker: { failures: 2, probeAfterMs: 1_000 } });
    for (const outcome of [refused, overloaded, refused]) await bench.live.note(outcome, "send");

    expect(await bench.live.admit()).toBe("send");
  });
});

function times(...texts: string[]): Times[] {
  return texts.map((text) => parseTimes(text) as Times);
}

/** A target with a real state, which can be made unreachable. */
class LiveBench {
  nowMs = 1_790_000_000_000;
  away = false;
  readonly live: LiveTarget;
  readonly #config: TargetConfig;
  readonly #state = openState();

  constructor(changes: Partial<TargetConfig> = {}) {
    this.#config = target(changes);
    this.live = this.another();
  }

  /** The target as another worker sees it, whose clock may be ahead. */
  another(aheadMs = 0): LiveTarget {
    const controls: Controls = {
      read: async (name) => this.#reach().read(name),
      write: async (name, control, version) => this.#reach().write(name, control, version),
    };
    return new LiveTarget(this.#config, controls, () => this.nowMs + aheadMs);
  }

  async change(change: Parameters<typeof changeSettings>[1]): Promise<void> {
    const { control, version } = await this.#state.controls.read(this.#config.name);
    await this.#state.controls.write(this.#config.name, changeSettings(control, change), version);
  }

  async slowDown(factor: number): Promise<void> {
    const { control, version } = await this.#state.controls.read(this.#config.name);
    const slowdown = { factor, atMs: this.nowMs };
    await this.#state.controls.write(this.#config.name, { ...control, slowdown }, version);
  }

  settings(): number[] {
    return [this.live.ratePerSecond, this.live.concurrency, this.live.sampleFraction];
  }

  #reach(): Controls {
    if (this.away) throw new StateError("the state is away");
    return this.#state.controls;
  }
}
