import { isDay, isZone } from "../config/moment.ts";

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const pattern = /^(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.(\d{3}))?(?: ([+-]\d{4}))?$/;

/**
 * Parses `06/Feb/2026:12:14:14 +0100` and `06/Feb/2026:12:14:14.655` into ms since 1970; undefined for any other text, and for
 * a day, a time or a zone that does not exist.
 *
 * Throws `RangeError` if the time zone is unknown.
 *
 * @param timeZone IANA time zone of a time without an offset. If clocks are set back, a repeated hour means the first
 * of the two; if they are set forward, a skipped hour means the hour after.
 */
export function parseLogTime(text: string, timeZone: string): number | undefined {
  const match = pattern.exec(text);
  const month = months.indexOf(match?.[2] ?? "");
  if (!match || month < 0) return undefined;
  const [, day, , year, hour, minute, second, ms = "0", zone] = match;
  const [y, d, h, m, s] = [year, day, hour, minute, second].map(Number);
  // 60 is a leap second. A year below 100 would mean one of the 20th century to `Date.UTC`.
  if (y < 1_969 || !isDay(y, month + 1, d) || h > 23 || m > 59 || s > 60) return undefined;
  if (zone !== undefined && !isZone(zone)) return undefined;
  const wallMs = Date.UTC(y, month, d, h, m, s, Number(ms));
  const momentMs = wallMs - (zone === undefined ? offsetMs(wallMs, timeZone) : writtenOffsetMs(zone));
  return momentMs >= 0 ? momentMs : undefined;
}

/** `+0530` is 5 hours and 30 minutes. */
function writtenOffsetMs(zone: string): number {
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3));
  return (zone.startsWith("-") ? -minutes : minutes) * 60_000;
}

const clocks = new Map<string, Intl.DateTimeFormat>();
// The offset of each quarter of an hour is cached: a log has many lines in it, and computing the offset is slow.
const offsets = new Map<string, number>();
const maxOffsets = 10_000;
const quarterMs = 15 * 60_000;

/** How far a time zone is ahead of UTC when its clocks show `wallMs`. */
function offsetMs(wallMs: number, timeZone: string): number {
  if (timeZone === "UTC") return 0;
  const quarter = Math.floor(wallMs / quarterMs);
  const key = `${timeZone} ${quarter}`;
  const known = offsets.get(key);
  if (known !== undefined) return known;
  // Clocks may change near this moment: try the offsets of a day before and of a day after.
  const start = quarter * quarterMs;
  const before = zoneOffsetMs(start - 86_400_000, timeZone);
  const after = zoneOffsetMs(start + 86_400_000, timeZone);
  const offset = [before, after].find((ms) => zoneOffsetMs(start - ms, timeZone) === ms) ?? before;
  if (offsets.size >= maxOffsets) offsets.clear();
  offsets.set(key, offset);
  return offset;
}

function zoneOffsetMs(momentMs: number, timeZone: string): number {
  let clock = clocks.get(timeZone);
  if (!clock) {
    clock = new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    clocks.set(timeZone, clock);
  }
  const parts = Object.fromEntries(clock.formatToParts(momentMs).map(({ type, value }) => [type, Number(value)]));
  const { year, month, day, hour, minute, second } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(momentMs / 1_000) * 1_000;
}
