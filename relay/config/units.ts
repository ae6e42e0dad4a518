import { type Bounds, bounds, isWithinBounds, toNearest } from "./bounds.ts";

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
};
const perSecond: Readonly<Record<string, number>> = { s: 1, min: 1 / 60, h: 1 / 3_600 };

/** `250ms`, `3s`, `5m`, `1h`, `7d` in whole milliseconds; undefined for anything else, and beyond 100 years. */
export function parseDurationMs(text: string): number | undefined {
  const ms = toMs(text);
  return ms !== undefined && isWithinBounds(ms, bounds.durationMs) ? ms : undefined;
}

function toMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  // Queues and the state count whole milliseconds.
  return match ? Math.round(Number(match[1]) * durationUnits[match[2]]) : undefined;
}

/** `512B`, `48KiB`, `64MB` in whole bytes; undefined for anything else, and above 1 PiB. */
export function parseSizeBytes(text: string): number | undefined {
  const bytes = toBytes(text);
  return bytes !== undefined && isWithinBounds(bytes, bounds.bytes) ? bytes : undefined;
}

function toBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s?(B|KB|MB|GB|KiB|MiB|GiB)$/.exec(text.trim());
  return match ? Math.floor(Number(match[1]) * sizeUnits[match[2]]) : undefined;
}

/**
 * `200/s`, `30/min`, `10/h` in requests per second, Infinity for `unlimited`; undefined for anything else, also for rates that
 * are too low or too high.
 */
export function parseRatePerSecond(text: string): number | undefined {
  if (text.trim() === "unlimited") return Number.POSITIVE_INFINITY;
  const rate = toPerSecond(text);
  if (rate === undefined) return undefined;
  // Binary fractions take 0.01/h below the bound.
  const inBounds = toNearest(rate, bounds.ratePerSecond);
  return Math.abs(inBounds - rate) <= inBounds * 1e-12 ? inBounds : undefined;
}

function toPerSecond(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s?\/\s?(s|min|h)$/.exec(text.trim());
  return match ? Number(match[1]) * perSecond[match[2]] : undefined;
}

const leastPerHour = bounds.ratePerSecond.least * 3_600;
const mostPerSecond = bounds.ratePerSecond.most;

/** A whole number in digits; undefined for anything else, and out of bounds. */
export function parseCount(text: string, within: Bounds): number | undefined {
  return /^\d{1,15}$/.test(text) && isWithinBounds(Number(text), within) ? Number(text) : undefined;
}

/**
 * Why a text is not a rate, and what to write instead; undefined if it is a rate that a target can have.
 *
 * @param of a job has no rate `unlimited`, and is not paused by a rate of 0
 */
export function explainRate(text: string, of: "target" | "job" = "target"): string | undefined {
  if (parseRatePerSecond(text) !== undefined) return undefined;
  const faster = of === "target" ? "unlimited" : "--asap";
  const outOfBounds = (rate: number) =>
    rate < 1
      ? `"${text}" is below ${leastPerHour}/h, the lowest rate`
      : `"${text}" is above ${mostPerSecond}/s, the highest rate; use ${faster} for more`;
  const rate = toPerSecond(text) ?? 0;
  if (rate > 0 && Number.isFinite(rate)) return outOfBounds(rate);
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)\s*(.*)$/.exec(text.trim()) ?? [];
  const units = Object.keys(perSecond).filter((each) => unit === "" || rateUnitsMeant[each].test(unit));
  const examples = of === "target" ? "200/s, 30/min, 10/h or unlimited" : "200/s, 30/min or 10/h";
  if (!Number.isFinite(Number(number)) || units.length === 0) return `"${text}" is not a rate, such as ${examples}`;
  if (Number(number) === 0) {
    return `"${text}" is not a rate above 0${of === "target" ? ": to send nothing, pause the target" : `, such as ${examples}`}`;
  }
  const rates = units.map((each) => `${number}/${each}`).filter((each) => parseRatePerSecond(each) !== undefined);
  if (rates.length === 0) return outOfBounds(Number(number) * perSecond[units[0]]);
  const written = rates.join(", ").replace(/, ([^,]*)$/, " or $1");
  return `"${text}" ${unit === "" ? "has no unit" : "is not a rate"}: write ${written}`;
}

/** Other common spellings of the units, by the unit that is meant. */
const rateUnitsMeant: Readonly<Record<keyof typeof perSecond, RegExp>> = {
  s: /^(?:[rqt]ps|hz|r(?:eq)?\s*\/\s*s(?:ec)?|(?:\/\s*|per\s+)(?:sec|secs|second|seconds|s))$/i,
  min: /^(?:rpm|r(?:eq)?\s*\/\s*m(?:in)?|(?:\/\s*|per\s+)(?:m|min|mins|minute|minutes))$/i,
  h: /^(?:rph|r(?:eq)?\s*\/\s*h|(?:\/\s*|per\s+)(?:h|hr|hour|hours))$/i,
};

/** Why a text is not a duration, and what to write instead; undefined if it is one, or if the form says enough. */
export function explainDuration(text: string): string | undefined {
  if (toMs(text) !== undefined && parseDurationMs(text) === undefined) {
    return `"${text}" is above ${bounds.durationMs.most / durationUnits.d}d, the longest duration`;
  }
  return parseDurationMs(text) === undefined ? explainUnit(text, "duration", durationsMeant, ["s", "ms"]) : undefined;
}

/** Why a text is not a size, and what to write instead; undefined if it is one, or if the form says enough. */
export function explainSize(text: string): string | undefined {
  if (toBytes(text) !== undefined && parseSizeBytes(text) === undefined) {
    return `"${text}" is above ${bounds.bytes.most / sizeUnits.GiB}GiB, the largest size`;
  }
  return parseSizeBytes(text) === undefined ? explainUnit(text, "size", sizesMeant, ["B", "KiB", "MiB"]) : undefined;
}

/** Why a text is not a percentage, and what to write instead; undefined if it is one, or if the form says enough. */
export function explainPercentage(text: string): string | undefined {
  const number = /^\d+(?:\.\d+)?$/.exec(text.trim())?.[0];
  if (number === undefined || parseFraction(`${number}%`) === undefined) return undefined;
  const share = Number((Number(number) * 100).toPrecision(12));
  const others = share <= 100 && Number(number) > 0 ? [`${share}%`] : [];
  return `"${text}" has no unit: write ${[`${number}%`, ...others].join(" or ")}`;
}

/** @param usual units to suggest for a number without one */
function explainUnit(
  text: string,
  noun: string,
  meant: readonly Meant[],
  usual: readonly string[],
): string | undefined {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)\s*(\S*)$/.exec(text.trim()) ?? [];
  const units = unit === "" ? usual : meant.filter(([, regex]) => regex.test(unit)).map(([right]) => right);
  if (number === undefined || units.length === 0) return undefined;
  const written = units
    .map((each) => `${number}${each}`)
    .join(", ")
    .replace(/, ([^,]*)$/, " or $1");
  return `"${text}" ${unit === "" ? "has no unit" : `is not a ${noun}`}: write ${written}`;
}

/** A unit, and other common spellings of it. */
type Meant = readonly [unit: string, spellings: RegExp];

const durationsMeant: readonly Meant[] = [
  ["ms", /^(?:ms|msecs?|millis(?:econds?)?|milliseconds?)$/i],
  ["s", /^(?:s|secs?|seconds?)$/i],
  ["m", /^(?:m|mins?|minutes?)$/i],
  ["h", /^(?:h|hrs?|hours?)$/i],
  ["d", /^(?:d|days?)$/i],
];

const sizesMeant: readonly Meant[] = [
  ["B", /^(?:b|bytes?)$/i],
  ["KiB", /^(?:k|kb|ki|kib)$/i],
  ["MiB", /^(?:m|mb|mi|mib)$/i],
  ["GiB", /^(?:g|gb|gi|gib)$/i],
];

/** Why a text is not a percentage from 0% to 100%; undefined if it is one. */
export function explainShare(text: string): string | undefined {
  if (parseFraction(text) !== undefined) return undefined;
  return explainPercentage(text) ?? `"${text}" is not a percentage from 0% to 100%, such as 50% or 0.5%`;
}

/** `50%`, `0.5%` as a fraction from 0 to 1; undefined for anything else. */
export function parseFraction(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s?%$/.exec(text.trim());
  const fraction = match ? Number(match[1]) / 100 : Number.NaN;
  return isWithinBounds(fraction, bounds.fraction) ? fraction : undefined;
}
