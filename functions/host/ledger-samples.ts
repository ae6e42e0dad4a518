import type { Sample } from "../../relay/log/metric-set.ts";
import { type Fate, fates } from "../../relay/state/port.ts";
import type { HostStats } from "../../relay/stats/host-stats.ts";

// The fates of the ledger as samples of metrics.

export function settledRequests({ targets, removed }: HostStats): readonly Sample[] {
  return Object.entries({ ...targets, ...removed }).flatMap(([target, { fates }]) =>
    Object.entries(fates)
      .filter(([fate]) => fate !== "deadLettered" && fate !== "captured" && fate !== "cancelled")
      .map(([name, value]) => {
        const [fate, statusClass = ""] = name.split(".");
        return { labels: { target, fate: fate === "sampledOut" ? "sampled_out" : fate, class: statusClass }, value };
      }),
  );
}

/** All jobs together: with a series each, every job would leave one behind forever. */
export function replayedRequests({ jobs = {} }: HostStats): readonly Sample[] {
  return fates
    .filter((fate) => fate !== "deadLettered" && !notOfJobs.includes(fate))
    .map((name) => {
      const [fate, statusClass = ""] = name.split(".");
      const value = Object.values(jobs).reduce((total, job) => total + job.fates[name], 0);
      return { labels: { fate, class: statusClass }, value };
    });
}

const notOfJobs: readonly Fate[] = ["filtered", "sampledOut", "captured", "moved"];

export function capturedRequests({ captures = {} }: HostStats): readonly Sample[] {
  return Object.entries(captures).flatMap(([capture, { fates }]) => [
    { labels: { capture, fate: "captured" }, value: fates.captured },
    { labels: { capture, fate: "filtered" }, value: fates.filtered },
    { labels: { capture, fate: "sampled_out" }, value: fates.sampledOut },
    { labels: { capture, fate: "skipped" }, value: fates.skipped },
  ]);
}
