const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const pattern = /^(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.(\d{3}))?(?: ([+-])(\d\d)(\d\d))?$/;

/**
 * Parses `06/Feb/2026:12:14:14 +0100` and `06/Feb/2026:12:14:14.655` into ms since 1970; undefined for any other text.
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
  const [, day, , year, hour, minute, second, ms = "0", sign, offsetHours, offsetMinutes] = match;
  const [d, h, m, s] = [day, hour, minute, second].map(Number);
  // 60 is a leap second.
  if (d < 1 || d > 31 || h > 23 || m > 59 || s > 60) return undefined;
  const wallMs = Date.UTC(Number(year), month, d, h, m, s, Number(ms));
  const momentMs =
    sign === undefined
      ? wallMs - offsetMs(wallMs, timeZone)
      : wallMs - (sign === "-" ? -1 : 1) * (Number(offsetHours) * 60 + Number(offsetMinutes)) * 60_000;
  return momentMs >= 0 ? momentMs : undefined;
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
