/** The least and the most that a number may be; both are allowed. */
export interface Bounds {
  readonly least: number;
  readonly most: number;
}

const dayMs = 86_400_000;

/**
 * The bounds of the numbers that users give in more than one place: in the file, as a flag and through the control API. What an
 * older version left in the state is read within the same bounds. `Date`, timers, SQLite's INTEGER, DynamoDB's numbers and
 * doubles with whole microseconds can hold all of them.
 */
export const bounds = {
  /**
   * Requests a second. At a lower rate the wait for a slot would exceed the longest timer, and a job would never end. At a higher
   * one slots would be closer than the microseconds in which they are counted: `unlimited` is for that.
   */
  ratePerSecond: { least: 0.01 / 3_600, most: 1_000_000 },
  /** Concurrent requests of a replay process. */
  concurrency: { least: 1, most: 10_000 },
  /** Share of the requests. */
  fraction: { least: 0, most: 1 },
  /** Speed of a job. At the lowest, a minute of the capture takes 17 hours; at a far lower one a job would never end. */
  speed: { least: 0.001, most: 1_000_000 },
  /** Repetitions of a capture in one job. */
  loops: { least: 1, most: 1_000_000 },
  /** The longest pause of a job. */
  gapMs: { least: 1, most: 365 * dayMs },
  /** A hundred years. Most keys allow much less. */
  durationMs: { least: 0, most: 36_525 * dayMs },
  /** A pebibyte. Most keys allow much less. */
  bytes: { least: 0, most: 2 ** 50 },
  /** Milliseconds since 1970: all that `Date` can hold. */
  timeMs: { least: 0, most: 8.64e15 },
  /** What a timer of Node can wait for: a longer one fires at once. */
  timerMs: { least: 0, most: 2 ** 31 - 1 },
  /** Requests to print. */
  printed: { least: 0, most: 1_000_000_000 },
  /** The first of several ports that a command uses. */
  firstPort: { least: 1, most: 65_500 },
} as const satisfies Readonly<Record<string, Bounds>>;

export function isWithinBounds(value: number, { least, most }: Bounds): boolean {
  return value >= least && value <= most;
}

/** The number, or the nearest one that is allowed. `value` is not NaN. */
export function toNearest(value: number, { least, most }: Bounds): number {
  return Math.min(most, Math.max(least, value));
}
