import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { explainTimes, isWithin, parseTimes, type Times } from "../../../relay/config/time-windows.ts";

describe("parseTimes", () => {
  it("reads a span of each day", () => {
    expect(parseTimes(" 22:00-06:00 Europe/Berlin ")).toEqual({
      text: "22:00-06:00 Europe/Berlin",
      zone: "Europe/Berlin",
      weekdays: new Set([0, 1, 2, 3, 4, 5, 6]),
      startMinute: 22 * 60,
      endMinute: 6 * 60,
    });
  });

  it.each([
    ["Mon-Fri", [1, 2, 3, 4, 5]],
    ["Sat,Sun", [6, 0]],
    ["Fri-Mon", [5, 6, 0, 1]],
    ["Mon,Wed-Thu", [1, 3, 4]],
    ["Tue-Tue", [2]],
    ["Sun-Sat", [0, 1, 2, 3, 4, 5, 6]],
  ])("reads the days %s", (days, expected) => {
    expect(parseTimes(`${days} 08:00-18:00 UTC`)?.weekdays).toEqual(new Set(expected));
  });

  it.each([
    ["00:00-24:00 UTC", 0, 1_440],
    ["8:00 - 18:30 UTC", 480, 1_110],
    ["22:00-00:00 UTC", 1_320, 0],
    ["22:00-24:00 UTC", 1_320, 1_440],
    ["23:59-00:01 Etc/GMT+2", 1_439, 1],
  ])("reads %s", (text, startMinute, endMinute) => {
    expect(parseTimes(text)).toMatchObject({ startMinute, endMinute });
  });

  it.each([
    "",
    "22:00-06:00",
    "22:00 Europe/Berlin",
    "22-06 UTC",
    "22:00-06:00 Europe/Nowhere",
    "22:00-06:00 +02:00",
    "22:60-06:00 UTC",
    "24:01-06:00 UTC",
    "24:00-06:00 UTC",
    "25:00-06:00 UTC",
    "22:00-24:30 UTC",
    "22:0-06:00 UTC",
    "-1:00-06:00 UTC",
    "08:00-08:00 UTC",
    "Mon- 08:00-18:00 UTC",
    "Mon-Wed-Fri 08:00-18:00 UTC",
    "Mon,,Fri 08:00-18:00 UTC",
    "mon 08:00-18:00 UTC",
    "Monday 08:00-18:00 UTC",
    "- 08:00-18:00 UTC",
    "08:00-18:00 UTC 2026",
  ])("refuses %j", (text) => {
    expect(parseTimes(text)).toBeUndefined();
  });

  it("never throws, whatever the text is", () => {
    fc.assert(fc.property(fc.string(), (text) => parseTimes(text) === undefined || text.includes(":")));
  });
});

describe("explainTimes", () => {
  it.each([
    ["22:00-06:00", '"22:00-06:00" has no time zone: write "22:00-06:00 Europe/Berlin" or "22:00-06:00 UTC"'],
    ["Mon-Fri 08:00-18:00", '"Mon-Fri 08:00-18:00" has no time zone: write "Mon-Fri 08:00-18:00 Europe/Berlin" or'],
    ["08:00-18:00 Berlin", "there is no time zone Berlin; use a name such as Europe/Berlin or UTC"],
  ])("says what is wrong with the time zone of %j", (text, explanation) => {
    expect(explainTimes(text)).toContain(explanation);
  });

  it.each(["08:00-18:00 UTC", "tomorrow", "25:00-26:00", "", "Monday 08:00-18:00 UTC"])(
    "does not report the time zone of %j as wrong",
    (text) => {
      expect(explainTimes(text)).toBeUndefined();
    },
  );
});

describe("isWithin", () => {
  it("includes the first minute of the span, but not the last", () => {
    expect(inside("08:00-18:00 UTC", "2026-03-04", ["07:59:59.999", "08:00", "17:59:59.999", "18:00"])).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it("crosses midnight", () => {
    expect(inside("22:00-06:00 UTC", "2026-03-04", ["21:59", "22:00", "23:59", "00:00", "05:59", "06:00"])).toEqual([
      false,
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  it("ends at midnight, written either way", () => {
    for (const end of ["00:00", "24:00"]) {
      expect(inside(`22:00-${end} UTC`, "2026-03-04", ["21:59", "22:00", "23:59", "00:00"])).toEqual([
        false,
        true,
        true,
        false,
      ]);
    }
  });

  it("assigns the hours after midnight to the day on which the span began", () => {
    const friday = "2026-03-06";
    const saturday = "2026-03-07";
    const sunday = "2026-03-08";

    expect(inside("Fri 22:00-06:00 UTC", friday, ["05:00", "21:00", "23:00"])).toEqual([false, false, true]);
    expect(inside("Fri 22:00-06:00 UTC", saturday, ["05:59", "06:00", "23:00"])).toEqual([true, false, false]);
    expect(inside("Sat 22:00-06:00 UTC", sunday, ["05:00"])).toEqual([true]);
    expect(inside("Sun 22:00-06:00 UTC", sunday, ["05:00"])).toEqual([false]);
  });

  it("uses the weekday in the time zone", () => {
    // 23:30 on a Friday in UTC is Saturday in Berlin, and 01:30 on a Saturday in UTC still Friday in New York.
    expect(inside("Sat 00:00-24:00 Europe/Berlin", "2026-03-06", ["22:59", "23:30"])).toEqual([false, true]);
    expect(inside("Fri 00:00-24:00 America/New_York", "2026-03-07", ["01:30", "04:59", "05:00"])).toEqual([
      true,
      true,
      false,
    ]);
  });

  it("supports zones with an offset of half hours", () => {
    expect(inside("12:00-13:00 Asia/Kolkata", "2026-03-04", ["06:29", "06:30", "07:29", "07:30"])).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it.each([
    ["Europe/Berlin, winter", "2026-03-28", "22:00-06:00 Europe/Berlin", "20:59", "21:00"],
    ["Europe/Berlin, summer", "2026-03-29", "22:00-06:00 Europe/Berlin", "19:59", "20:00"],
    ["America/New_York, winter", "2026-03-07", "18:00-23:00 America/New_York", "22:59", "23:00"],
    ["America/New_York, summer", "2026-03-08", "18:00-23:00 America/New_York", "21:59", "22:00"],
  ])("begins at the local time of the day: %s", (_, day, text, before, start) => {
    expect(inside(text, day, [before, start])).toEqual([false, true]);
  });

  it.each([
    ["Europe/Berlin", "2026-03-29", "00:59", "01:00"],
    ["America/New_York", "2026-03-08", "06:59", "07:00"],
  ])("skips the hour that the clocks of %s skip in spring", (zone, day, last, first) => {
    // 01:59 local time is followed by 03:00.
    expect(inside(`02:00-03:00 ${zone}`, day, [last, first])).toEqual([false, false]);
    expect(inside(`01:00-02:00 ${zone}`, day, [last, first])).toEqual([true, false]);
    expect(inside(`02:30-04:00 ${zone}`, day, [last, first])).toEqual([false, true]);
    expect(minutesInside(`00:00-06:00 ${zone}`, day)).toBe(5 * 60);
  });

  it.each([
    ["Europe/Berlin", "2026-10-25", ["00:00", "00:59", "01:00", "01:59", "02:00"]],
    ["America/New_York", "2026-11-01", ["05:00", "05:59", "06:00", "06:59", "07:00"]],
  ])("includes both passes of the hour that is repeated in autumn in %s", (zone, day, moments) => {
    const hour = zone === "Europe/Berlin" ? "02:00-03:00" : "01:00-02:00";

    expect(inside(`${hour} ${zone}`, day, moments)).toEqual([true, true, true, true, false]);
    expect(minutesInside(`00:00-06:00 ${zone}`, day)).toBe(7 * 60);
  });

  it("is always either in a span or in the rest of the day, never in both", () => {
    const minute = fc.integer({ min: 0, max: 1_439 });
    const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland");
    fc.assert(
      fc.property(minute, minute, zones, fc.integer({ min: 0, max: 4e12 }), (start, end, zone, nowMs) => {
        fc.pre(start !== end);
        const span = times(`${clock(start)}-${clock(end)} ${zone}`);
        const rest = times(`${clock(end)}-${clock(start)} ${zone}`);

        expect(isWithin(span, nowMs)).toBe(!isWithin(rest, nowMs));
      }),
    );
  });
});

function times(text: string): Times {
  const parsed = parseTimes(text);
  if (!parsed) throw new Error(`not read: ${text}`);
  return parsed;
}

/** Whether moments of a day, in UTC, are within the span. */
function inside(text: string, day: string, moments: readonly string[]): boolean[] {
  return moments.map((moment) => isWithin(times(text), Date.parse(`${day}T${moment}Z`)));
}

/** How many minutes of the day, in local time, are within the span. */
function minutesInside(text: string, day: string): number {
  const { zone } = times(text);
  const noonMs = Date.parse(`${day}T12:00Z`);
  const dateOf = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short" });
  let minutes = 0;
  for (let nowMs = noonMs - 86_400_000; nowMs < noonMs + 86_400_000; nowMs += 60_000) {
    if (dateOf.format(nowMs) === day && isWithin(times(text), nowMs)) minutes++;
  }
  return minutes;
}

function clock(minute: number): string {
  return `${Math.floor(minute / 60)}:${String(minute % 60).padStart(2, "0")}`;
}
