import fc from "fast-check";
import { expect, it } from "vitest";
import { parseIsoMoment } from "../../../relay/config/moment.ts";
import { parseLogTime } from "../../../relay/exchange/log-time.ts";

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

it.each([
  "31/Nov/2026:12:00:00 +0000",
  "30/Feb/2026:12:00:00 +0000",
  "29/Feb/2026:12:00:00 +0000",
  "29/Feb/2100:12:00:00 +0000",
  "31/Apr/2026:12:00:00",
  "00/Apr/2026:12:00:00",
  "32/Dec/2026:12:00:00 +0000",
  "01/Dec/2026:24:00:00 +0000",
  "01/Dec/2026:12:60:00 +0000",
  "01/Dec/2026:12:00:61 +0000",
  "01/Dec/2026:12:00:00 +9900",
  "01/Dec/2026:12:00:00 +1401",
  "01/Dec/2026:12:00:00 -0060",
  "01/Dec/0099:12:00:00 +0000",
  "01/Dec/1969:12:00:00 +0000",
])("refuses %s, which does not exist or is before 1970", (text) => {
  expect(parseLogTime(text, "UTC")).toBeUndefined();
});

it.each([
  ["29/Feb/2028:23:59:59 +0000", "2028-02-29T23:59:59.000Z"],
  ["29/Feb/2000:00:00:00 +1400", "2000-02-28T10:00:00.000Z"],
  ["31/Dec/2016:23:59:60 +0000", "2017-01-01T00:00:00.000Z"],
  ["01/Jan/1970:00:00:00 -0930", "1970-01-01T09:30:00.000Z"],
  ["31/Dec/1969:23:00:00 -0200", "1970-01-01T01:00:00.000Z"],
])("reads %s", (text, moment) => {
  expect(new Date(parseLogTime(text, "UTC") ?? Number.NaN).toISOString()).toBe(moment);
});

it("takes the days that the calendar has, and no others, from logs and in ISO 8601", () => {
  const field = fc.integer({ min: 0, max: 99 });
  fc.assert(
    fc.property(fc.integer({ min: 1971, max: 2400 }), fc.integer({ min: 1, max: 12 }), field, field, (y, m, d, h) => {
      const [day, hour, month] = [d, h, m].map((part) => `${part}`.padStart(2, "0"));
      // The Gregorian calendar, without `Date`.
      const leap = (y % 4 === 0 && y % 100 !== 0) || y % 400 === 0;
      const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][m - 1];
      const exists = d >= 1 && d <= days && h <= 23;

      expect(parseLogTime(`${day}/${months[m - 1]}/${y}:${hour}:30:15 +0000`, "UTC") !== undefined).toBe(exists);
      expect(parseIsoMoment(`${y}-${month}-${day}T${hour}:30:15Z`) !== undefined).toBe(exists);
    }),
    { numRuns: 2_000 },
  );
});
