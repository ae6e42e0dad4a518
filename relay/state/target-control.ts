import { z } from "zod";
import { bounds } from "../config/bounds.ts";
import { findRepairs, stored, storedCount } from "./repairs.ts";

// The rate is never reduced below this share, however often the shadow asks for less.
const leastFactor = 1 / 64;
// Far more than a breaker sends in a year.
const mostProbes = 100_000_000;

/** Live settings of a target. Each setting overrides the configuration until it is removed. */
const targetSettingsSchema = z.object({
  /** Requests a second; `"unlimited"` if there is no limit. */
  ratePerSecond: z
    .union([stored(bounds.ratePerSecond), z.literal("unlimited")])
    .optional()
    .catch(undefined),
  concurrency: storedCount(bounds.concurrency).optional().catch(undefined),
  /** 0 to 1. */
  sample: stored(bounds.fraction).optional().catch(undefined),
  /** Anything but `false` is read as `true`: a target that somebody wanted to pause should receive nothing. */
  paused: z
    .preprocess((value) => (value === false || value === undefined ? undefined : true), z.literal(true).optional())
    .optional(),
});

const controlSchema = z.object({
  settings: targetSettingsSchema.optional().catch(undefined),
  /** The breaker is open while this is set: nothing is sent but one request at `probeAtMs`. */
  breaker: z
    .object({
      openedAtMs: stored(bounds.timeMs),
      probeAtMs: stored(bounds.timeMs),
      probes: storedCount({ least: 0, most: mostProbes }),
      reason: z.string(),
    })
    .optional()
    .catch(undefined),
  /** The share of its rate that the target received when its shadow last asked for less, and the time of that answer. */
  slowdown: z
    .object({ factor: stored({ least: leastFactor, most: 1 }), atMs: stored(bounds.timeMs) })
    .optional()
    .catch(undefined),
  /** URL of its queue in SQS: if the target is removed from the configuration, nothing else tells where its requests wait. */
  queue: z.string().optional().catch(undefined),
});

export type TargetSettings = z.output<typeof targetSettingsSchema>;
export type TargetControl = z.output<typeof controlSchema>;

/**
 * Parses a control written by `JSON.stringify`. A number out of bounds is read as the nearest one that is allowed, `paused`
 * as true, and anything else that is wrong as if it were not there; `repairs` names each.
 */
export function parseControl(json: string): { readonly control: TargetControl; readonly repairs?: readonly string[] } {
  const value = parseJson(json);
  const parsed = controlSchema.safeParse(value);
  const control = parsed.success ? withoutUnset(parsed.data) : {};
  const repairs = parsed.success ? findRepairs(value, control) : findRepairs(value, undefined);
  return { control, ...(repairs.length > 0 && { repairs }) };
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

/** Without the keys that were ignored. */
function withoutUnset({ settings, ...rest }: TargetControl): TargetControl {
  const set = <T extends object>(object: T) =>
    Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
  return set({ ...rest, ...(settings && { settings: set(settings) }) });
}

// An overloaded shadow asks for less with every answer; only the first answer in this interval counts.
const slowAtMostEveryMs = 1_000;
// After the shadow last asked for less, the rate doubles in each interval of this length.
const doublesInMs = 10_000;
const maxProbeWaitMs = 30_000;

/** Changes settings; `null` removes a setting, so that the configuration applies again. */
export function changeSettings(
  control: TargetControl,
  change: { readonly [Key in keyof TargetSettings]?: TargetSettings[Key] | null },
): TargetControl {
  const settings = Object.fromEntries(
    Object.entries({ ...control.settings, ...change }).filter(([, value]) => value !== null && value !== undefined),
  );
  return { ...control, settings };
}

// A time that is further ahead than possible was written by a wrong clock. Waiting for it could take hours, so it is ignored.
const clockToleranceMs = 5_000;

/** Whether the next probe is due. `longestMs` is the longest possible wait for a probe. */
export function isProbeDue({ breaker }: TargetControl, nowMs: number, longestMs: number): boolean {
  if (!breaker) return false;
  const waitMs = breaker.probeAtMs - nowMs;
  return waitMs <= 0 || waitMs > Math.max(maxProbeWaitMs, longestMs) + clockToleranceMs;
}

/** The share of its rate that a target receives now, 1/64 to 1. It doubles every ten seconds after the shadow asked for less. */
export function paceFactor({ slowdown }: TargetControl, nowMs: number): number {
  if (!slowdown || slowdown.atMs > nowMs + clockToleranceMs) return 1;
  return Math.min(1, slowdown.factor * 2 ** (Math.max(0, nowMs - slowdown.atMs) / doublesInMs));
}

/** Halves the pace after a 429 or 503 with Retry-After, at most once a second. */
export function slowDown(control: TargetControl, nowMs: number): TargetControl {
  if (control.slowdown && Math.abs(nowMs - control.slowdown.atMs) < slowAtMostEveryMs) return control;
  return { ...control, slowdown: { factor: Math.max(leastFactor, paceFactor(control, nowMs) / 2), atMs: nowMs } };
}

/** Opens the breaker; an open breaker stays as it is. */
export function openBreaker(
  control: TargetControl,
  nowMs: number,
  probeAfterMs: number,
  reason: string,
): TargetControl {
  if (control.breaker) return control;
  return { ...control, breaker: { openedAtMs: nowMs, probeAtMs: nowMs + probeAfterMs, probes: 0, reason } };
}

/**
 * Claims the one request that finds out whether the shadow is back. No other worker can claim a probe until this one has
 * timed out, even if its sender dies.
 */
export function claimProbe(
  control: TargetControl,
  nowMs: number,
  timeoutMs: number,
  longestMs = timeoutMs,
): TargetControl {
  const { breaker } = control;
  if (!breaker || !isProbeDue(control, nowMs, longestMs)) return control;
  return { ...control, breaker: { ...breaker, probes: breaker.probes + 1, probeAtMs: nowMs + timeoutMs } };
}

/** Schedules the next probe after a failed one: the wait doubles each time, up to 30 seconds. */
export function delayProbe(control: TargetControl, nowMs: number, probeAfterMs: number): TargetControl {
  const { breaker } = control;
  if (!breaker) return control;
  const waitMs = Math.min(maxProbeWaitMs, probeAfterMs * 2 ** breaker.probes);
  return { ...control, breaker: { ...breaker, probeAtMs: nowMs + waitMs } };
}

export function closeBreaker(control: TargetControl): TargetControl {
  if (!control.breaker) return control;
  const { breaker: _, ...closed } = control;
  return closed;
}
