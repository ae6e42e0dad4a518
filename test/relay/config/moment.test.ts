import { describe, expect, it } from "vitest";
import { explainMoment, parseMoment } from "../../../relay/config/moment.ts";

const nowMs = Date.UTC(2026, 10, 22, 12);

describe("a moment", () => {
  it.each([
    ["2026-11-20T18:00:00Z", "2026-11-20T18:00:00.000Z"],
    ["2026-11-20T18:00:00.250Z", "2026-11-20T18:00:00.250Z"],
    ["2026-11-20T18:00+01:00", "2026-11-20T17:00:00.000Z"],
    ["2026-11-20t18:00:00z", "2026-11-20T18:00:00.000Z"],
    ["2028-02-29T00:00:00-05:30", "2028-02-29T05:30:00.000Z"],
    ["2026-11-20T18:00:00.123456Z", "2026-11-20T18:00:00.123Z"],
    ["2026-11-20 18:00:00+0100", "2026-11-20T17:00:00.000Z"],
    ["2026-11-20T18:00:00+14:00", "2026-11-20T04:00:00.000Z"],
    ["now", "2026-11-22T12:00:00.000Z"],
    ["-2h", "2026-11-22T10:00:00.000Z"],
    ["-30m", "2026-11-22T11:30:00.000Z"],
    ["+10m", "2026-11-22T12:10:00.000Z"],
  ])("%s is %s", (text, expected) => {
    expect(new Date(parseMoment(text, nowMs) ?? Number.NaN).toISOString()).toBe(expected);
  });

  it.each([["2026-11-20T18:00:00"], ["2026-11-20 18:00"], ["2026-11-20"]])(
    "%s is refused because it has no time zone",
    (text) => {
      expect(parseMoment(text, nowMs)).toBeUndefined();
      expect(explainMoment(text, "-2h")).toMatch(/^It has no time zone: write a time with one, such as 2026/);
    },
  );

  it.each([
    ["2026-02-30T00:00:00Z"],
    ["2026-02-29T00:00:00Z"],
    ["2100-02-29T00:00:00Z"],
    ["2026-11-31T00:00:00Z"],
    ["2026-11-00T00:00:00Z"],
    ["2026-00-10T00:00:00Z"],
    ["2026-11-20T24:00:00Z"],
    ["2026-11-20T18:60:00Z"],
    ["2026-11-20T18:00:61Z"],
    ["2026-11-20T18:00:00+99:00"],
    ["2026-11-20T18:00:00+14:01"],
    ["2026-11-20T18:00:00+01:60"],
    ["2026-13-01T00:00:00Z"],
    ["2026-11-20T25:00:00Z"],
    ["-2"],
    ["--2h"],
    ["2h"],
    ["yesterday"],
    ["+999999999999d"],
    ["-999999999d"],
    [""],
    ["1763661600"],
  ])("refuses %j", (text) => {
    expect(parseMoment(text, nowMs)).toBeUndefined();
    expect(explainMoment(text, "-2h")).toMatch(/^It must be a time, such as 2026.*, -2h or now\.$/);
  });

  it("suggests a future time if asked for one", () => {
    expect(explainMoment("tomorrow", "+10m")).toMatch(/, \+10m or now\.$/);
  });
});
