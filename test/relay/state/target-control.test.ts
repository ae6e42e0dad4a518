import { describe, expect, it } from "vitest";
import {
  changeSettings,
  claimProbe,
  closeBreaker,
  delayProbe,
  isProbeDue,
  openBreaker,
  paceFactor,
  parseControl,
  slowDown,
  type TargetControl,
} from "../../../relay/state/target-control.ts";

const nowMs = 1_790_000_000_000;
const hourMs = 3_600_000;

describe("changeSettings", () => {
  it("keeps the settings that are not named, and removes those that are null", () => {
    const control = changeSettings({ settings: { ratePerSecond: 5, paused: true } }, { paused: null, concurrency: 2 });

    expect(control).toEqual({ settings: { ratePerSecond: 5, concurrency: 2 } });
  });

  it("returns settings that survive JSON", () => {
    const control = changeSettings({}, { ratePerSecond: "unlimited", sample: 0.5 });

    expect(parseControl(JSON.stringify(control))).toEqual({ control });
  });
});

describe("a stored pause", () => {
  it.each([[1], [0], ["true"], ["yes"], ["false"], [""], [null], [{}], [[]], [1.5]])(
    "is one in whatever form somebody wrote it: %j",
    (paused) => {
      expect(parseControl(JSON.stringify({ settings: { paused, concurrency: 2 } }))).toEqual({
        control: { settings: { paused: true, concurrency: 2 } },
        repairs: [`settings.paused is ${JSON.stringify(paused)}, read as true`],
      });
    },
  );

  it("is none if it is false or missing", () => {
    expect(parseControl('{"settings":{}}')).toEqual({ control: { settings: {} } });
    expect(parseControl('{"settings":{"paused":false}}').control).toEqual({ settings: {} });
    expect(parseControl('{"settings":{"paused":true}}')).toEqual({ control: { settings: { paused: true } } });
  });
});

describe("the pace", () => {
  it("is halved at most once a second, down to 1/64", () => {
    let control: TargetControl = {};
    const factors = [];
    for (let ms = 0; ms < 10_000; ms += 100) {
      control = slowDown(control, nowMs + ms);
      factors.push(paceFactor(control, nowMs + ms));
    }

    expect(factors[0]).toBe(0.5);
    expect(factors.slice(0, 10).every((factor) => factor < 0.54)).toBe(true);
    expect(factors[10]).toBeCloseTo((0.5 * 2 ** 0.1) / 2);
    expect(Math.min(...factors)).toBe(1 / 64);
  });

  it("doubles in ten seconds until it is whole again", () => {
    const control = { slowdown: { factor: 1 / 4, atMs: nowMs } };

    expect([0, 5_000, 10_000, 20_000, 90_000].map((ms) => paceFactor(control, nowMs + ms))).toEqual([
      1 / 4,
      expect.closeTo(0.3536, 3),
      1 / 2,
      1,
      1,
    ]);
    expect(paceFactor(control, nowMs - 5_000)).toBe(1 / 4);
  });

  it("ignores a slowdown noted by a clock that is an hour ahead, and can be lowered by a correct clock", () => {
    const wrong = slowDown({}, nowMs + hourMs);

    expect(paceFactor(wrong, nowMs)).toBe(1);
    expect(slowDown(wrong, nowMs).slowdown).toEqual({ factor: 0.5, atMs: nowMs });
  });
});

describe("the breaker", () => {
  it("stays as it is if it is already open", () => {
    const open = openBreaker({}, nowMs, 1_000, "refused");

    expect(open.breaker).toEqual({ openedAtMs: nowMs, probeAtMs: nowMs + 1_000, probes: 0, reason: "refused" });
    expect(openBreaker(open, nowMs + 500, 1_000, "reset")).toBe(open);
  });

  it("allows one probe at a time, each after twice the wait, up to 30 seconds", () => {
    let control = openBreaker({}, nowMs, 1_000, "refused");
    const waits = [];
    for (let i = 0; i < 7; i++) {
      const atMs = control.breaker?.probeAtMs ?? 0;
      expect(claimProbe(control, atMs - 1, 500)).toBe(control);
      control = delayProbe(claimProbe(control, atMs, 500), atMs + 10, 1_000);
      waits.push((control.breaker?.probeAtMs ?? 0) - atMs - 10);
    }

    expect(waits).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it("allows no second probe before the first has timed out", () => {
    const control = claimProbe(openBreaker({}, nowMs, 100, "timed out"), nowMs + 100, 10_000);

    expect(control.breaker?.probeAtMs).toBe(nowMs + 10_100);
  });

  it("allows a probe if a clock that is an hour ahead opened it", () => {
    const wrong = openBreaker({}, nowMs + hourMs, 1_000, "refused");

    expect(claimProbe(wrong, nowMs, 500).breaker).toMatchObject({ probes: 1, probeAtMs: nowMs + 500 });
  });

  it("allows no probe earlier than configured, even if that is an hour", () => {
    const open = openBreaker({}, nowMs, hourMs, "refused");

    expect(isProbeDue(open, nowMs, hourMs)).toBe(false);
    expect(claimProbe(open, nowMs + hourMs - 1, 500, hourMs)).toBe(open);
    expect(isProbeDue(open, nowMs + hourMs, hourMs)).toBe(true);
  });

  it("is removed when it is closed, and nothing else is", () => {
    const control = { settings: { paused: true as const } };

    expect(closeBreaker(openBreaker(control, nowMs, 1_000, "refused"))).toEqual(control);
    expect(closeBreaker(control)).toBe(control);
  });
});
