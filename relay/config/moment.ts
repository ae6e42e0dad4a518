import { parseDurationMs } from "./units.ts";

/**
 * A moment in milliseconds since 1970: ISO 8601 with a zone (`2026-11-20T18:00:00Z`, `2026-11-20T19:00+01:00`), `now`, or
 * relative to now (`-2h`, `+10m`). Undefined for anything else, such as a time without a zone.
 */
export function parseMoment(text: string, nowMs: number): number | undefined {
  if (text === "now") return nowMs;
  const relative = /^([+-])(.+)$/.exec(text);
  if (relative) {
    const durationMs = parseDurationMs(relative[2]);
    if (durationMs === undefined) return undefined;
    return inCalendar(Math.round(nowMs + (relative[1] === "-" ? -durationMs : durationMs)));
  }
  return parseIsoMoment(text);
}

/**
 * ISO 8601 with a zone, in milliseconds since 1970; undefined for anything else, also for a day, an hour or a zone that does not
 * exist. `Date` alone would read the 31st of November as the 1st of December, and 24:00 as the next day.
 */
export function parseIsoMoment(text: string): number | undefined {
  const match = isoMoment.exec(text);
  if (!match) return undefined;
  const [, year, month, day, time, zone = "Z"] = match;
  if (!isDay(Number(year), Number(month), Number(day)) || !isZone(zone)) return undefined;
  const ms = Date.parse(`${year}-${month}-${day}T${time}${zone.toUpperCase().replace(/(\d\d):?(\d\d)$/, "$1:$2")}`);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Whether the calendar has this day. */
export function isDay(year: number, month: number, day: number): boolean {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/** Whether an offset such as `+0530`, `-09:30` or `Z` is one that a place on Earth could have: at most 14 hours. */
export function isZone(text: string): boolean {
  const [, hours = "0", minutes = "0"] = /^[+-](\d\d):?(\d\d)$/.exec(text) ?? [];
  return Number(minutes) < 60 && Number(hours) * 60 + Number(minutes) <= 14 * 60;
}

/** Undefined if the time is outside the range of `Date`, which ends in the year 275,760. */
export function inCalendar(ms: number): number | undefined {
  return Number.isNaN(new Date(ms).getTime()) ? undefined : ms;
}

/** Says what a text that is not a moment must be; `relative` is an example of a relative time that makes sense here. */
export function explainMoment(text: string, relative: "-2h" | "+10m"): string {
  const forms = `such as 2026-11-20T18:00:00Z, 2026-11-20T19:00:00+01:00, ${relative} or now`;
  if (/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$/i.test(text)) {
    return `It has no time zone: write a time with one, ${forms}.`;
  }
  return `It must be a time, ${forms}.`;
}

const isoMoment =
  /^(\d{4})-(\d\d)-(\d\d)[T ]((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:?\d\d)$/i;
