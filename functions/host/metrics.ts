import type { Registry } from "prom-client";
import { byLabel, MetricSet, type ReadSamples, type Sample, single } from "../../relay/log/metric-set.ts";
import { type Fate, fates } from "../../relay/state/port.ts";
import type { HostStats, TargetStats } from "../../relay/stats/host-stats.ts";

/** All metrics of a host for Prometheus, read when they are scraped. Those of requests come from the ledger and survive restarts. */
export function createHostMetrics(readStats: () => Promise<HostStats>): Registry {
  const metrics = new MetricSet("spoa_relay_");
  const read = shareReading(readStats);
  /** No sample if nothing can be read: an old one, or a 0, would be wrong. */
  const from =
    (toSamples: (stats: HostStats) => readonly Sample[]): ReadSamples =>
    async () => {
      const stats = await read();
      return stats ? toSamples(stats) : [];
    };
  const ofTargets = (figure: (target: TargetStats) => number | undefined) =>
    from(({ targets }) => {
      const known: [string, number][] = [];
      for (const [name, target] of Object.entries(targets)) {
        const value = figure(target);
        if (value !== undefined) known.push([name, value]);
      }
      return byLabel("target", known);
    });

  metrics.gauge("host_state_up", "0 while queues and state on this machine cannot be read", async () =>
    single((await read()) !== undefined),
  );
  metrics.gauge(
    "ingress_up",
    "0 while the ingress queue does not answer",
    from(({ ingress }) => single(ingress.problem === undefined)),
  );
  metrics.gauge(
    "ingress_waiting_packs",
    "Packs that wait for the fan-out",
    from(({ ingress }) => single(ingress.messages)),
  );
  metrics.gauge(
    "ingress_waiting_requests",
    "Requests that wait for the fan-out; absent with SQS, which cannot count them",
    from(({ ingress }) => single(ingress.waiting)),
  );
  metrics.gauge(
    "ingress_dead_letter_packs",
    "Packs that cannot be decoded",
    from(({ ingress }) => single(ingress.deadMessages)),
  );
  metrics.gauge(
    "ingress_dead_letter_requests",
    "Requests in packs that cannot be decoded, as far as their summaries tell",
    from(({ ingress }) => single(ingress.deadLettered)),
  );
  metrics.counter(
    "ingress_expired_requests_total",
    "Requests that the retention of the ingress queue has removed; absent with SQS, which tells nobody",
    from(({ ingress }) => single(ingress.expired)),
  );
  metrics.gauge("missing_packs", "Packs whose number was passed over", from(missingPacks), ["agent"]);

  metrics.counter(
    "target_enqueued_requests_total",
    "Requests fanned out: the sum of all fates, the dead letters and the waiting ones",
    ofTargets(({ enqueued }) => enqueued),
    ["target"],
  );
  metrics.counter("target_requests_total", "Requests by what became of them", from(settledRequests), [
    "target",
    "fate",
    "class",
  ]);
  metrics.counter(
    "capture_enqueued_requests_total",
    "Requests fanned out: the sum of all fates, and those that wait in the ingress queue until the archive is back",
    from(({ captures = {} }) =>
      byLabel(
        "capture",
        Object.entries(captures).map(([name, { enqueued }]) => [name, enqueued]),
      ),
    ),
    ["capture"],
  );
  metrics.counter(
    "capture_requests_total",
    "Requests by what became of them: captured, filtered, sampled_out, or skipped",
    from(capturedRequests),
    ["capture", "fate"],
  );
  metrics.gauge(
    "capture_waiting_requests",
    "Requests that wait in the ingress queue until the archive of their capture is back",
    from(({ captures = {} }) =>
      byLabel(
        "capture",
        Object.entries(captures).map(([name, { enqueued, fates: settled }]) => [name, enqueued - sumOf(settled)]),
      ),
    ),
    ["capture"],
  );
  metrics.gauge(
    "target_waiting_packs",
    "Packs that wait for the target",
    ofTargets(({ messages }) => messages),
    ["target"],
  );
  metrics.gauge(
    "target_waiting_requests",
    "Requests that wait for the target; absent with SQS, which cannot count them",
    ofTargets(({ inQueue }) => inQueue),
    ["target"],
  );
  // Gauges, and no fate: dead letters that are sent again are none any more.
  metrics.gauge(
    "target_dead_letter_packs",
    "Messages among the target's dead letters",
    ofTargets(({ deadMessages }) => deadMessages),
    ["target"],
  );
  metrics.gauge(
    "target_dead_letter_requests",
    "Requests among the target's dead letters; absent with SQS, which cannot count them",
    ofTargets(({ inDeadLetters }) => inDeadLetters),
    ["target"],
  );

  metrics.counter(
    "job_fed_requests_total",
    "Requests that replay jobs have put into the queues of their targets",
    from(({ jobs = {} }) => single(Object.values(jobs).reduce((total, { enqueued }) => total + enqueued, 0))),
  );
  metrics.counter("job_requests_total", "Requests of replay jobs by what became of them", from(replayedRequests), [
    "fate",
    "class",
  ]);
  metrics.gauge(
    "target_rate_limit",
    "Requests a second that the target may get, as configured or changed since; +Inf where there is no limit",
    ofTargets(({ live }) => (live.ratePerSecond === "unlimited" ? Number.POSITIVE_INFINITY : live.ratePerSecond)),
    ["target"],
  );
  metrics.gauge(
    "target_pace_factor",
    "Share of the rate that the target gets while its shadow has asked for less, from 1/64 to 1",
    ofTargets(({ live }) => live.paceFactor),
    ["target"],
  );
  metrics.gauge(
    "target_breaker_open",
    "1 while the target gets nothing but probes, since its shadow failed again and again",
    ofTargets(({ control }) => Number(control.breaker !== undefined)),
    ["target"],
  );
  metrics.gauge(
    "target_held",
    "1 while the target gets nothing: paused, out of its window, in a blackout, or its breaker is open",
    ofTargets(({ held }) => Number(held !== undefined)),
    ["target"],
  );
  return metrics.registry;
}

function settledRequests({ targets }: HostStats): readonly Sample[] {
  return Object.entries(targets).flatMap(([target, { fates }]) =>
    Object.entries(fates)
      .filter(([fate]) => fate !== "deadLettered" && fate !== "captured" && fate !== "cancelled")
      .map(([name, value]) => {
        const [fate, statusClass = ""] = name.split(".");
        return { labels: { target, fate: fate === "sampledOut" ? "sampled_out" : fate, class: statusClass }, value };
      }),
  );
}

/** Jobs come and go: a series each would stay behind for ever. */
function replayedRequests({ jobs = {} }: HostStats): readonly Sample[] {
  return fates
    .filter((fate) => fate !== "deadLettered" && !notOfJobs.includes(fate))
    .map((name) => {
      const [fate, statusClass = ""] = name.split(".");
      const value = Object.values(jobs).reduce((total, job) => total + job.fates[name], 0);
      return { labels: { fate, class: statusClass }, value };
    });
}

const notOfJobs: readonly Fate[] = ["filtered", "sampledOut", "captured"];

function capturedRequests({ captures = {} }: HostStats): readonly Sample[] {
  return Object.entries(captures).flatMap(([capture, { fates }]) => [
    { labels: { capture, fate: "captured" }, value: fates.captured },
    { labels: { capture, fate: "filtered" }, value: fates.filtered },
    { labels: { capture, fate: "sampled_out" }, value: fates.sampledOut },
    { labels: { capture, fate: "skipped" }, value: fates.skipped },
  ]);
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

// All runs of an agent together: with a series each, every restart would leave one behind for ever.
function missingPacks({ agents }: HostStats): readonly Sample[] {
  const missing = new Map<string, number>();
  for (const { agent, missingPacks: packs } of agents) {
    const name = agent.replace(/~[^~]*$/, "");
    missing.set(name, (missing.get(name) ?? 0) + packs);
  }
  return byLabel("agent", missing);
}

/** One reading for all metrics of a scrape: each is a look into every queue, and a call of SQS. Undefined where it fails. */
function shareReading(readStats: () => Promise<HostStats>): () => Promise<HostStats | undefined> {
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
