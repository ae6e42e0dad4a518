import type { TargetConfig } from "../../relay/config/config.ts";
import { jobIdOf } from "../../relay/job/job.ts";
import { missingPacksOf } from "../../relay/state/ended-runs.ts";
import { type Controls, captureKeyPrefix, type Ledger } from "../../relay/state/port.ts";
import type { MetricLine } from "../metric-line.ts";

export interface StateMetricsDeps {
  readonly targets: readonly TargetConfig[];
  readonly ledger: Pick<Ledger, "totals">;
  readonly controls: Pick<Controls, "read">;
  readonly metrics: Pick<MetricLine, "count" | "countAt">;
}

/** Counts the metrics that are read from the state store. Call it each minute. Rejects with `StateError`. */
export async function measureState({ targets, ledger, controls, metrics }: StateMetricsDeps): Promise<void> {
  const totals = await ledger.totals();
  for (const run of totals.agents) {
    if (jobIdOf(run.agent) === undefined) metrics.count("missingPacks", missingPacksOf(run));
  }
  for (const { missingPacks } of totals.ended ?? []) metrics.count("missingPacks", missingPacks);
  for (const [name, { enqueued, fates }] of totals.targets) {
    if (!name.startsWith(captureKeyPrefix)) continue;
    const settled = Object.values(fates).reduce((sum, count) => sum + count, 0);
    metrics.count("waitingForCapture", enqueued - settled);
  }
  await Promise.all(
    targets.map(async ({ name }) => {
      const { control } = await controls.read(name);
      if (control.breaker) metrics.countAt(name, "breakerOpen", 1);
    }),
  );
}
