/** A span of time that repeats each day, or on some days of the week, in a time zone. */
export interface Times {
  readonly text: string;
  readonly zone: string;
  /** 0 is Sunday. A span that crosses midnight belongs to the day on which it begins. */
  readonly weekdays: ReadonlySet<number>;
  /** Minutes since midnight; the end is not included. An end before the start is on the next day. */
  readonly startMinute: number;
  readonly endMinute: number;
}

const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const minutesOfDay = 1_440;

/** `22:00-06:00 Europe/Berlin`, `Mon-Fri 08:00-18:00 UTC`, `Sat,Sun 00:00-24:00 UTC`; undefined for anything else. */
export function parseTimes(text: string): Times | undefined {
  const match = /^(?:([A-Za-z,-]+)\s+)?(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})\s+([A-Za-z][\w+/-]*)$/.exec(text.trim());
  if (!match) return undefined;
  const [, days, start, end, zone] = match;
  const parsed = {
    weekdays: days === undefined ? new Set([0, 1, 2, 3, 4, 5, 6]) : parseWeekdays(days),
    startMinute: parseMinute(start),
    endMinute: parseMinute(end),
  };
  const { startMinute, endMinute } = parsed;
  if (!parsed.weekdays || startMinute === undefined || endMinute === undefined) return undefined;
  if (startMinute === minutesOfDay || startMinute === endMinute || !isTimeZone(zone)) return undefined;
  return { text: text.trim(), zone, weekdays: parsed.weekdays, startMinute, endMinute };
}

/** Why a text is not a span of time, if the reason is its time zone; undefined if it is valid or wrong in another way. */
export function explainTimes(text: string): string | undefined {
  if (parseTimes(text)) return undefined;
  if (parseTimes(`${text} UTC`))
    return `"${text}" has no time zone: write "${text.trim()} Europe/Berlin" or "${text.trim()} UTC"`;
  const [, span, zone] = /^(.*?)\s+(\S+)$/.exec(text.trim()) ?? [];
  if (span !== undefined && parseTimes(`${span} UTC`))
    return `"${text}": there is no time zone ${zone}; use a name such as Europe/Berlin or UTC`;
  return undefined;
}

/** Whether a moment is within the span, by local time: the hour that summer time skips or repeats is skipped or repeated here. */
export function isWithin(times: Times, nowMs: number): boolean {
  const { weekday, minute } = localTime(nowMs, times.zone);
  const { startMinute, endMinute } = times;
  const onDay = times.weekdays.has(weekday);
  if (endMinute > startMinute) return onDay && minute >= startMinute && minute < endMinute;
  if (minute >= startMinute) return onDay;
  return minute < endMinute && times.weekdays.has((weekday + 6) % 7);
}

const clocks = new Map<string, Intl.DateTimeFormat>();

function localTime(nowMs: number, zone: string): { readonly weekday: number; readonly minute: number } {
  let clock = clocks.get(zone);
  if (!clock) {
    const format = { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
    clock = new Intl.DateTimeFormat("en-US", format);
    clocks.set(zone, clock);
  }
  const parts = Object.fromEntries(clock.formatToParts(nowMs).map(({ type, value }) => [type, value]));
  return { weekday: weekdays.indexOf(parts.weekday), minute: Number(parts.hour) * 60 + Number(parts.minute) };
}

function parseWeekdays(text: string): ReadonlySet<number> | undefined {
  const days = new Set<number>();
  for (const part of text.split(",")) {
    const [first, last = first, ...more] = part.split("-").map((name) => weekdays.indexOf(name));
    if (first < 0 || last < 0 || more.length > 0) return undefined;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === last) break;
    }
  }
  return days;
}

function parseMinute(text: string): number | undefined {
  const [hours, minutes] = text.split(":").map(Number);
  const minute = hours * 60 + minutes;
  return minutes < 60 && minute <= minutesOfDay ? minute : undefined;
}

function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
