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
  const match = isoMoment.exec(text);
  if (!match || !isDay(match[1])) return undefined;
  const ms = Date.parse(text.toUpperCase());
  return Number.isNaN(ms) ? undefined : ms;
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

const isoMoment = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/i;

/** False for the 30th of February, which `Date` would turn into a day in March. */
function isDay(date: string): boolean {
  const ms = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date);
}
