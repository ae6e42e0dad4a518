import type { HostStats } from "../../relay/stats/host-stats.ts";

/** Shares one reading among all metrics of a scrape, because each reads every queue and calls SQS. Undefined if it fails. */
export function shareReading(readStats: () => Promise<HostStats>): () => Promise<HostStats | undefined> {
  let reading: Promise<HostStats | undefined> | undefined;
  return () => {
    reading ??= readStats()
      .catch(() => undefined)
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };
}
