import { Gauge, type Histogram, type Registry } from "prom-client";
import { byLabel, MetricSet, type Sample, single } from "../relay/log/metric-set.ts";
import type { AgentStats } from "../relay/stats/agent-stats.ts";
import { type AckLatency, ackBoundsMs } from "./ack-latency.ts";
import type { EventLoopDelay } from "./event-loop-delay.ts";
import { dropReasons, omitReasons, unreplayableReasons } from "./ledger.ts";

/** The values of metrics that are not in the stats. */
export interface AgentVitals {
  readonly ready: boolean;
  /** Connections accepted since the start, health checks included. */
  readonly accepted: number;
  /** Connections that the agent ended because of the peer, by the event in the log. */
  readonly refused: ReadonlyMap<string, number>;
  readonly frames: number;
  /** What the connections hold: half-received messages, and ACKs that peers have not read. */
  readonly heldBytes: number;
  readonly queueUp: boolean;
  /** Failed attempts to send packs, by code. */
  readonly queueErrors: ReadonlyMap<string, number>;
  /** Undefined if no journal is configured. */
  readonly journal?: { readonly up: boolean; readonly maxBytes: number };
}

interface AgentMetricsSources {
  readonly stats: () => AgentStats;
  readonly vitals: () => AgentVitals;
  readonly ackLatency: AckLatency;
  readonly eventLoopDelay: EventLoopDelay;
}

const prefix = "spoa_relay_agent_";

/** All metrics of the agent for Prometheus. Their values are read at each scrape. */
export function createAgentMetrics(sources: AgentMetricsSources): Registry {
  const { stats, vitals, ackLatency, eventLoopDelay } = sources;
  const metrics = new MetricSet(prefix);
  metrics.gauge(
    "info",
    "Always 1. The label agent is the name and the run of the agent, as in its packs",
    () => byLabel("agent", [[stats().agent, 1]]),
    ["agent"],
  );
  metrics.gauge("ready", "1 while /readyz answers 200, otherwise 0", () => single(vitals().ready));

  metrics.gauge("connections", "Open SPOP connections", () => single(stats().connections));
  metrics.counter(
    "connections_accepted_total",
    "SPOP connections accepted since the start, including health checks",
    () => single(vitals().accepted),
  );
  metrics.counter(
    "connections_refused_total",
    "SPOP connections that the agent refused or closed because of the peer, by the event in the log",
    () => byLabel("event", vitals().refused),
    ["event"],
  );
  metrics.gauge(
    "connection_buffer_bytes",
    "Bytes of half-received messages, and of ACKs that peers have not read (agent.connectionBuffer limits them)",
    () => single(vitals().heldBytes),
  );
  metrics.counter("frames_total", "SPOP frames received and answered", () => single(vitals().frames));
  metrics.registry.registerMetric(
    toHistogram(
      "ack_seconds",
      "Seconds from the arrival of a chunk of SPOP frames in this process to the write of their answers",
      ackLatency,
    ),
  );

  metrics.counter(
    "requests_seen_total",
    "Requests received from HAProxy: the sum of requests_total over all fates, plus pending_requests",
    () => single(stats().seen),
  );
  metrics.counter(
    "requests_total",
    "Requests by fate: sampled_out, filtered, looped, upgrade, unreplayable, unusable, dropped or enqueued; the three before enqueued with a reason",
    () => requestsByFate(stats()),
    ["fate", "reason"],
  );
  metrics.counter(
    "omitted_bodies_total",
    "Bodies that agent.redact left out, by reason: rule, or why a body could not be read",
    () => byLabel("reason", Object.entries({ ...zeros(omitReasons), ...stats().omittedBodies })),
    ["reason"],
  );
  metrics.gauge("pending_requests", "Requests in packs that the queue has not accepted yet", () =>
    single(stats().pending),
  );
  metrics.counter(
    "recovered_requests_total",
    "Requests of earlier runs that this run found in the journal and enqueued",
    () => single(stats().recovered),
  );

  metrics.counter("packs_total", "Packs that the queue has accepted", () => single(stats().packs));
  metrics.counter("pack_bytes_total", "Compressed bytes of the packs that the queue has accepted", () =>
    single(stats().packBytes),
  );
  metrics.gauge("waiting_bytes", "Bytes in memory of packs that wait to be compressed or sent", () =>
    single(stats().waitingBytes),
  );
  metrics.gauge("queue_up", "0 while packs cannot be sent to the queue, otherwise 1", () => single(vitals().queueUp));
  metrics.counter(
    "queue_errors_total",
    "Failed attempts to send packs to the queue, by error code",
    () => byLabel("code", vitals().queueErrors),
    ["code"],
  );
  metrics.gauge(
    "journal_up",
    "0 while packs cannot be written to the journal, otherwise 1; absent without a journal",
    () => single(vitals().journal?.up),
  );
  metrics.gauge("journal_bytes", "Bytes that the journal uses on disk", () => single(stats().journalBytes));
  metrics.gauge(
    "journal_max_bytes",
    "Bytes that the journal may use on disk (agent.journal.maxBytes); absent without a journal",
    () => single(vitals().journal?.maxBytes),
  );
  metrics.gauge("journal_packs", "Packs that wait in the journal and are not in memory", () =>
    single(stats().journalPacks),
  );
  addEventLoopDelay(metrics.registry, eventLoopDelay);
  return metrics.registry;
}

// Every reason exists from the start: `increase` sees no growth in a series that first appears with 500.
function requestsByFate(stats: AgentStats): readonly Sample[] {
  const { sampledOut, filtered, looped, upgrade = 0, enqueued } = stats;
  const unreplayable = { ...zeros(unreplayableReasons), ...stats.unreplayable };
  const unusable = { "no method": 0, "no path": 0, ...stats.unusable };
  const dropped = { ...zeros(dropReasons), ...stats.dropped };
  const counts: readonly (readonly [fate: string, reason: string, value: number])[] = [
    ["sampled_out", "", sampledOut],
    ["filtered", "", filtered],
    ["looped", "", looped],
    ["upgrade", "", upgrade],
    ["enqueued", "", enqueued],
    ...Object.entries(unreplayable).map(([reason, value]) => ["unreplayable", reason, value] as const),
    ...Object.entries(unusable).map(([reason, value]) => ["unusable", reason, value] as const),
    ...Object.entries(dropped).map(([reason, value]) => ["dropped", reason, value] as const),
  ];
  return counts.map(([fate, reason, value]) => ({ labels: { fate, reason }, value }));
}

function zeros(reasons: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(reasons.map((reason) => [reason, 0]));
}

/** prom-client's own histogram counts into a map keyed by the text of each bound: too slow while HAProxy waits. */
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
  const help = "Seconds by which the event loop ran timers late since the last scrape";
  const registers = [registry];
  new Gauge({
    name: `${name}_p50_seconds`,
    help: `${help}: median`,
    registers,
    // The first gauge that is read sets all three, because `take` begins the next interval.
    collect() {
      const seconds = delay.take();
      this.set(seconds.p50);
      p99.set(seconds.p99);
      max.set(seconds.max);
    },
  });
  const p99 = new Gauge({ name: `${name}_p99_seconds`, help: `${help}: 99th percentile`, registers });
  const max = new Gauge({ name: `${name}_max_seconds`, help: `${help}: maximum`, registers });
}
