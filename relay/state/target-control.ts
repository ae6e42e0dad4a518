import { z } from "zod";

/** Live settings of a target: what is there overrides the configuration until it is taken back. */
const targetSettingsSchema = z.strictObject({
  /** Requests a second; `"unlimited"` where there is no limit. */
  ratePerSecond: z.union([z.number().positive(), z.literal("unlimited")]).optional(),
  concurrency: z.int().min(1).max(10_000).optional(),
  /** 0 to 1. */
  sample: z.number().min(0).max(1).optional(),
  paused: z.literal(true).optional(),
});

const controlSchema = z.object({
  settings: targetSettingsSchema.optional(),
  /** Open while it is there: nothing is sent but one request at `probeAtMs`. */
  breaker: z
    .object({ openedAtMs: z.number(), probeAtMs: z.number(), probes: z.number(), reason: z.string() })
    .optional(),
  /** The share of the rate that the shadow got when it last asked for less, and when that was. */
  slowdown: z.object({ factor: z.number(), atMs: z.number() }).optional(),
});

export type TargetSettings = z.output<typeof targetSettingsSchema>;
export type TargetControl = z.output<typeof controlSchema>;

/** Reads what `JSON.stringify` made of a control. Throws where it is something else. */
export function parseControl(json: string): TargetControl {
  return controlSchema.parse(JSON.parse(json));
}

// The least that is left of the rate, however often the shadow asks for less.
const leastFactor = 1 / 64;
// A shadow that is overloaded says so with every answer; only the first of them in such a time counts.
const slowAtMostEveryMs = 1_000;
// The rate doubles in such a time after the shadow last asked for less.
const doublesInMs = 10_000;
const maxProbeWaitMs = 30_000;

/** Changes settings; `null` takes one back to what is configured. */
export function changeSettings(
  control: TargetControl,
  change: { readonly [Key in keyof TargetSettings]?: TargetSettings[Key] | null },
): TargetControl {
  const settings = Object.fromEntries(
    Object.entries({ ...control.settings, ...change }).filter(([, value]) => value !== null && value !== undefined),
  );
  return { ...control, settings };
}

// What lies farther ahead than it can was written by a clock that was wrong: waiting for it could take hours.
const clockToleranceMs = 5_000;

/** Whether the time of the next probe has come. `longestMs` is the longest that a probe is waited for. */
export function isProbeDue({ breaker }: TargetControl, nowMs: number, longestMs: number): boolean {
  if (!breaker) return false;
  const waitMs = breaker.probeAtMs - nowMs;
  return waitMs <= 0 || waitMs > Math.max(maxProbeWaitMs, longestMs) + clockToleranceMs;
}

/** The share of its rate that a target may have now, from 1/64 to 1: doubled every ten seconds since it asked for less. */
export function paceFactor({ slowdown }: TargetControl, nowMs: number): number {
  if (!slowdown || slowdown.atMs > nowMs + clockToleranceMs) return 1;
  return Math.min(1, slowdown.factor * 2 ** (Math.max(0, nowMs - slowdown.atMs) / doublesInMs));
}

/** What follows from a 429 or 503 with Retry-After: half the pace, once a second at most. */
export function slowDown(control: TargetControl, nowMs: number): TargetControl {
  if (control.slowdown && Math.abs(nowMs - control.slowdown.atMs) < slowAtMostEveryMs) return control;
  return { ...control, slowdown: { factor: Math.max(leastFactor, paceFactor(control, nowMs) / 2), atMs: nowMs } };
}

/** Opens the breaker. One that is open stays as it is. */
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
 * Takes the right to send the one request that finds out whether the shadow is back. Nobody else has it before this request
 * must have ended, whatever becomes of its sender.
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

/** What follows from a probe that has failed: the next one after twice the time, half a minute at most. */
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
