import { parseDurationMs } from "./units.ts";

/**
 * A moment in milliseconds since 1970: ISO 8601 with a zone (`2026-11-20T18:00:00Z`, `2026-11-20T19:00+01:00`), `now`, or
 * so long before or after it (`-2h`, `+10m`). Undefined for anything else, a time without a zone for one.
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

/** Undefined where no calendar goes so far: `Date` has 275,760 years. */
export function inCalendar(ms: number): number | undefined {
  return Number.isNaN(new Date(ms).getTime()) ? undefined : ms;
}

/** Why a text is no moment, as what it has to be. */
export function explainMoment(text: string): string {
  const forms = "such as 2026-11-20T18:00:00Z, 2026-11-20T19:00:00+01:00, -2h or now";
  if (/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$/i.test(text)) {
    return `It has no time zone, and could be any of many moments: write a time with one, ${forms}.`;
  }
  return `It has to be a time, ${forms}.`;
}

const isoMoment = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/i;

/** Date takes the 30th of February, and makes it March. */
function isDay(date: string): boolean {
  const ms = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date);
}
