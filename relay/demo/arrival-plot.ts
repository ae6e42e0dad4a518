const columns = 40;

/** A bar chart of how many of the times (in ms) are in each slice of `sliceMs`, starting with the first time. */
export function plotArrivals(timesMs: readonly number[], sliceMs: number): string {
  const firstMs = Math.min(...timesMs);
  const counts: number[] = [];
  for (const timeMs of timesMs) {
    const slice = Math.floor((timeMs - firstMs) / sliceMs);
    counts[slice] = (counts[slice] ?? 0) + 1;
  }
  const most = Math.max(...counts.filter((count) => count !== undefined));
  return Array.from(counts, (count = 0, slice) => {
    const seconds = ((slice * sliceMs) / 1_000).toFixed(1).padStart(5);
    return `  ${seconds} s │${"█".repeat(Math.round((count / most) * columns)).padEnd(columns)} ${count}`;
  }).join("\n");
}

/** The largest number of the times that are in one window of `windowMs`. */
export function mostInWindow(timesMs: readonly number[], windowMs: number): number {
  const sorted = timesMs.toSorted((a, b) => a - b);
  let most = 0;
  let first = 0;
  sorted.forEach((timeMs, last) => {
    while (timeMs - sorted[first] >= windowMs) first++;
    most = Math.max(most, last - first + 1);
  });
  return most;
}
