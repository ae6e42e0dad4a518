import { describe, expect, it, onTestFinished } from "vitest";
import { EventSourceMappings } from "../../../functions/host/event-source-mapping.ts";
import { createSchedule, type ScheduleDeps } from "../../../functions/schedule/schedule.ts";
import { ArchiveError } from "../../../relay/archive/port.ts";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { parseTimes, type Times } from "../../../relay/config/time-windows.ts";
import { StateError } from "../../../relay/state/port.ts";
import { changeSettings, openBreaker, type TargetControl } from "../../../relay/state/target-control.ts";
import { openState } from "../../support/data/lanes.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { target } from "../../support/data/targets.ts";
import { LambdaApi, replayArn } from "../../support/lambda/lambda-api.ts";

const noon = Date.parse("2026-03-04T12:00:30Z");
const paused = changeSettings({}, { paused: true });

describe("schedule: the event source mapping of a target", () => {
  it.each<[string, Partial<TargetConfig>, TargetControl, string[]]>([
    ["is turned on", {}, {}, ["turn on a"]],
    ["stays off while the target is paused", {}, paused, []],
    ["stays off outside its window", { windows: [times("22:00-06:00 UTC")] }, {}, []],
    ["is turned on within its window", { windows: [times("11:00-13:00 UTC")] }, {}, ["turn on a"]],
    ["stays off within a blackout", { blackouts: [times("11:00-13:00 UTC")] }, {}, []],
    ["is turned on while the breaker is open", {}, openBreaker({}, noon, 1_000, "it fails"), ["turn on a"]],
    ["stays off while the target is paused and its breaker open", {}, openBreaker(paused, noon, 1_000, "it fails"), []],
  ])("%s, if it is off", async (_, changes, control, turned) => {
    const { run, api } = await setUp({ a: "Disabled" }, { a: changes }, { a: control });

    expect(await run()).toBe(200);

    expect(api.turned).toEqual(turned);
  });

  it.each<[string, Partial<TargetConfig>, TargetControl, string[]]>([
    ["stays on", {}, {}, []],
    ["is turned off while the target is paused", {}, paused, ["turn off a"]],
    ["is turned off outside its window", { windows: [times("22:00-06:00 UTC")] }, {}, ["turn off a"]],
    ["stays on while the breaker is open", {}, openBreaker({}, noon, 1_000, "it fails"), []],
  ])("%s, if it is on", async (_, changes, control, turned) => {
    const { run, api } = await setUp({ a: "Enabled" }, { a: changes }, { a: control });

    expect(await run()).toBe(200);

    expect(api.turned).toEqual(turned);
  });

  it.each(["Creating", "Enabling", "Disabling", "Updating"])("is left alone while it is %s", async (state) => {
    const { run, api } = await setUp({ a: state }, { a: {} }, { a: paused });

    expect(await run()).toBe(200);

    expect(api.turned).toEqual([]);
  });

  it("follows the target's windows, and is switched once for each change", async () => {
    let nowMs = Date.parse("2026-03-04T21:58:30Z");
    const { run, api, log } = await setUp(
      { a: "Disabled" },
      { a: { windows: [times("22:00-22:03 UTC")] } },
      {},
      { now: () => nowMs },
    );

    for (let minute = 0; minute < 8; minute++, nowMs += 60_000) await run();

    expect(api.turned).toEqual(["turn on a", "turn off a"]);
    expect(log.lines).toMatchObject([
      { event: "switched", target: "a", on: true },
      { event: "switched", target: "a", on: false, reason: "outside its window 22:00-22:03 UTC" },
    ]);
  });

  it("is left alone for targets without an ARN", async () => {
    const { run, api } = await setUp({ a: "Enabled" }, { a: {}, other: {} }, { a: paused, other: paused });

    expect(await run()).toBe(200);

    expect(api.turned).toEqual(["turn off a"]);
  });
});

describe("schedule: a switch that fails", () => {
  it("does not keep other targets from being switched", async () => {
    const { run, api, log } = await setUp(
      { a: "Enabled", c: "Enabled" },
      { a: {}, b: {}, c: {} },
      { a: paused, b: paused, c: paused },
      { mappings: new Map(["a", "b", "c"].map((name) => [name, replayArn(name)])) },
    );

    expect(await run()).toBe(500);

    expect(api.turned.sort()).toEqual(["turn off a", "turn off c"]);
    expect(log.lines.filter(({ event }) => event === "schedule-failed")).toMatchObject([
      { what: "b", reason: "no function for b" },
    ]);
  });

  it("leaves the mapping as it is if the state cannot be read", async () => {
    const read = async () => {
      throw new StateError("away");
    };
    const controls = { read, write: async () => false };
    const { run, api, log } = await setUp({ a: "Enabled" }, { a: {} }, {}, { controls });

    expect(await run()).toBe(500);

    expect(api.turned).toEqual([]);
    expect(log.lines).toMatchObject([{ event: "schedule-failed", what: "a", reason: "away" }]);
  });
});

describe("schedule: the state", () => {
  it("tidies up on each run, even if a switch fails", async () => {
    let folds = 0;
    const fold = async () => ++folds;
    const { run } = await setUp({}, { a: {} }, {}, { fold, mappings: new Map([["a", replayArn("unknown")]]) });

    await run();
    await run();

    expect(folds).toBe(2);
  });

  it("does not keep targets from being switched if it fails to tidy up", async () => {
    const fold = async () => {
      throw new StateError("away");
    };
    const { run, api, log } = await setUp({ a: "Disabled" }, { a: {} }, {}, { fold });

    expect(await run()).toBe(500);

    expect(api.turned).toEqual(["turn on a"]);
    expect(log.lines.at(-1)).toMatchObject({ event: "schedule-failed", what: "state", reason: "away" });
  });
});

describe("schedule: captures", () => {
  it("are maintained on each run, also after one that failed", async () => {
    let times = 0;
    const upkeep = async () => {
      if (++times === 2) throw new ArchiveError("UNAVAILABLE", "the bucket is gone");
    };
    const { run, log } = await setUp({}, {}, {}, { upkeep });

    expect([await run(), await run(), await run()]).toEqual([200, 500, 200]);

    expect(times).toBe(3);
    expect(log.lines).toMatchObject([
      { level: "error", event: "schedule-failed", what: "captures", reason: "the bucket is gone" },
      { level: "info", event: "schedule-resumed", what: "captures" },
    ]);
  });
});

describe("schedule: replay jobs", () => {
  it("are fed each minute; a failure is logged and does not stop the other tasks", async () => {
    let times = 0;
    let folds = 0;
    const feed = async (signal: AbortSignal) => {
      if (signal.aborted) throw new Error("it is over");
      if (++times === 2) throw new StateError("the table is gone");
    };
    const { run, log } = await setUp({}, {}, {}, { feed, fold: async () => ++folds });

    expect([await run(), await run(), await run()]).toEqual([200, 500, 200]);

    expect([times, folds]).toEqual([3, 3]);
    expect(log.lines).toMatchObject([
      { level: "error", event: "schedule-failed", what: "replay jobs", reason: "the table is gone" },
      { level: "info", event: "schedule-resumed", what: "replay jobs" },
    ]);
  });
});

/** A schedule for these targets at noon; `states` are the states of their mappings. */
async function setUp(
  states: Readonly<Record<string, string>>,
  targets: Readonly<Record<string, Partial<TargetConfig>>>,
  controls: Readonly<Record<string, TargetControl>>,
  deps: Partial<ScheduleDeps> = {},
) {
  const api = await LambdaApi.start(states);
  const state = openState();
  for (const [name, control] of Object.entries(controls)) await state.controls.write(name, control, 0);
  const log = new LogLines();
  const switches = new EventSourceMappings();
  onTestFinished(() => switches.close());
  const app = createSchedule({
    targets: Object.entries(targets).map(([name, changes]) => target({ name, ...changes })),
    controls: state.controls,
    switches,
    mappings: new Map(Object.keys(states).map((name) => [name, replayArn(name)])),
    now: () => noon,
    log: log.log,
    ...deps,
  });
  const run = async () => (await app.request("/", { method: "POST", body: "{}" })).status;
  return { run, api, log };
}

function times(text: string): Times {
  const parsed = parseTimes(text);
  if (!parsed) throw new Error(`not read: ${text}`);
  return parsed;
}
