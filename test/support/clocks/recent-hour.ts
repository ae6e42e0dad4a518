const hourMs = 3_600_000;

/**
 * The beginning of an hour of the last 24 to 25 hours, in milliseconds since 1970. For captures that a real host looks after: a
 * fixed date would pass `keep` some day, and the host merges the objects of the last two hours while a test runs.
 */
export const recentHourMs = Math.floor(Date.now() / hourMs) * hourMs - 24 * hourMs;
