import { Gauge, type Histogram, type Registry } from "prom-client";
import { byLabel, MetricSet, type Sample, single } from "../relay/log/metric-set.ts";
import type { AgentStats } from "../relay/stats/agent-stats.ts";
import { type AckLatency, ackBoundsMs } from "./ack-latency.ts";
import type { EventLoopDelay } from "./event-loop-delay.ts";
import { dropReasons } from "./ledger.ts";

/** What the metrics tell beside the ledger. */
export interface AgentVitals {
  readonly ready: boolean;
  /** Connections accepted since the start, health checks included. */
  readonly accepted: number;
  /** Connections that the agent ended because of what the peer did, by the event in the log. */
  readonly refused: ReadonlyMap<string, number>;
  readonly frames: number;
  readonly queueUp: boolean;
  /** Tries to send packs that failed, by code. */
  readonly queueErrors: ReadonlyMap<string, number>;
  /** Undefined where no journal is configured. */
  readonly journal?: { readonly up: boolean; readonly maxBytes: number };
}

interface AgentMetricsSources {
  readonly stats: () => AgentStats;
  readonly vitals: () => AgentVitals;
  readonly ackLatency: AckLatency;
  readonly eventLoopDelay: EventLoopDelay;
}

const prefix = "spoa_relay_agent_";

/** All figures of the agent for Prometheus, read when they are scraped. */
export function createAgentMetrics(sources: AgentMetricsSources): Registry {
  const { stats, vitals, ackLatency, eventLoopDelay } = sources;
  const metrics = new MetricSet(prefix);
  metrics.gauge(
    "info",
    "Always 1; the label is name and run of the agent, as in its packs",
    () => byLabel("agent", [[stats().agent, 1]]),
    ["agent"],
  );
  metrics.gauge("ready", "1 while /readyz answers with 200", () => single(vitals().ready));

  metrics.gauge("connections", "Open SPOP connections", () => single(stats().connections));
  metrics.counter("connections_accepted_total", "SPOP connections, health checks included", () =>
    single(vitals().accepted),
  );
  metrics.counter(
    "connections_refused_total",
    "SPOP connections ended for what the peer is or did, by the event in the log",
    () => byLabel("event", vitals().refused),
    ["event"],
  );
  metrics.counter("frames_total", "SPOP frames answered", () => single(vitals().frames));
  metrics.registry.registerMetric(
    toHistogram("ack_seconds", "From the arrival of a chunk in this process to the write of its answer", ackLatency),
  );

  metrics.counter("requests_seen_total", "Requests seen: the sum of all fates and the pending ones", () =>
    single(stats().seen),
  );
  metrics.counter("requests_total", "Requests by what became of them", () => requestsByFate(stats()), [
    "fate",
    "reason",
  ]);
  metrics.gauge("pending_requests", "Requests in packs that are not in the queue yet", () => single(stats().pending));
  metrics.counter(
    "recovered_requests_total",
    "Requests of earlier runs that were found in the journal and enqueued",
    () => single(stats().recovered),
  );

  metrics.counter("packs_total", "Packs that the queue has taken", () => single(stats().packs));
  metrics.counter("pack_bytes_total", "Compressed bytes of the packs that the queue has taken", () =>
    single(stats().packBytes),
  );
  metrics.gauge("waiting_bytes", "Bytes in memory that wait for the queue", () => single(stats().waitingBytes));
  metrics.gauge("queue_up", "0 while the queue takes no packs", () => single(vitals().queueUp));
  metrics.counter(
    "queue_errors_total",
    "Tries to send packs that failed, by code",
    () => byLabel("code", vitals().queueErrors),
    ["code"],
  );
  metrics.gauge("journal_up", "0 while packs do not get into the journal; absent without one", () =>
    single(vitals().journal?.up),
  );
  metrics.gauge("journal_bytes", "Bytes that the journal takes on disk", () => single(stats().journalBytes));
  metrics.gauge("journal_max_bytes", "Bytes that the journal may take; absent without one", () =>
    single(vitals().journal?.maxBytes),
  );
  metrics.gauge("journal_packs", "Packs that wait in the journal alone", () => single(stats().journalPacks));
  addEventLoopDelay(metrics.registry, eventLoopDelay);
  return metrics.registry;
}

// All reasons from the beginning: for `increase`, what first shows with 500 has not grown.
function requestsByFate(stats: AgentStats): readonly Sample[] {
  const { sampledOut, filtered, looped, enqueued } = stats;
  const unusable = { "no method": 0, "no path": 0, ...stats.unusable };
  const dropped = { ...Object.fromEntries(dropReasons.map((reason) => [reason, 0])), ...stats.dropped };
  const counts: readonly (readonly [fate: string, reason: string, value: number])[] = [
    ["sampled_out", "", sampledOut],
    ["filtered", "", filtered],
    ["looped", "", looped],
    ["enqueued", "", enqueued],
    ...Object.entries(unusable).map(([reason, value]) => ["unusable", reason, value] as const),
    ...Object.entries(dropped).map(([reason, value]) => ["dropped", reason, value] as const),
  ];
  return counts.map(([fate, reason, value]) => ({ labels: { fate, reason }, value }));
}

/** prom-client's own would count into a map by the text of each bound: too slow for what is done while HAProxy waits. */
function toHistogram(name: string, help: string, latency: AckLatency): Histogram {
  const metric = {
    name: prefix + name,
    async get() {
      const { counts, sumMs } = latency;
      let total = 0;
      const buckets = [...ackBoundsMs, Number.POSITIVE_INFINITY].map((boundMs, i) => {
        total += counts[i];
        return { metricName: `${metric.name}_bucket`, labels: { le: formatBound(boundMs) }, value: total };
      });
      const values = [
        ...buckets,
        { metricName: `${metric.name}_sum`, labels: {}, value: sumMs / 1_000 },
        { metricName: `${metric.name}_count`, labels: {}, value: total },
      ];
      return { name: metric.name, help, type: "histogram", values, aggregator: "sum" };
    },
  };
  return metric as unknown as Histogram;
}

function formatBound(boundMs: number): string {
  return boundMs === Number.POSITIVE_INFINITY ? "+Inf" : String(Number((boundMs / 1_000).toPrecision(12)));
}

function addEventLoopDelay(registry: Registry, delay: EventLoopDelay): void {
  const name = `${prefix}event_loop_delay`;
  const help = "How late the event loop was since the last scrape";
  const registers = [registry];
  new Gauge({
    name: `${name}_p50_seconds`,
    help: `${help}: the median`,
    registers,
    // The first to be read looks for all three: a look begins the next interval.
    collect() {
      const seconds = delay.take();
      this.set(seconds.p50);
      p99.set(seconds.p99);
      max.set(seconds.max);
    },
  });
  const p99 = new Gauge({ name: `${name}_p99_seconds`, help: `${help}: the 99th percentile`, registers });
  const max = new Gauge({ name: `${name}_max_seconds`, help: `${help}: the longest`, registers });
}
