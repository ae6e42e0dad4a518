import type { Registry } from "prom-client";
import { byLabel, MetricSet, type Sample, single } from "../../relay/log/metric-set.ts";
import { agentOf } from "../../relay/state/ended-runs.ts";
import type { CaptureStats, HostStats, SettledStats, TargetStats } from "../../relay/stats/host-stats.ts";
import { capturedRequests, replayedRequests, settledRequests } from "./ledger-samples.ts";
import { shareReading } from "./shared-reading.ts";

/** All metrics of a host for Prometheus, read at each scrape. Counts of requests come from the ledger and survive restarts. */
export function createHostMetrics(readStats: () => Promise<HostStats>): Registry {
  const set = new MetricSet("spoa_relay_");
  const read = shareReading(readStats);
  set.gauge("host_state_up", "0 while the queues and the state store cannot be read", async () =>
    single((await read()) !== undefined),
  );
  for (const { kind, name, help, labels = [], samples } of hostMetrics) {
    // Absent if the stats cannot be read: an old value, or a 0, would be wrong.
    const readSamples = async () => {
      const stats = await read();
      return stats ? samples(stats) : [];
    };
    set[kind](name, help, readSamples, [...labels]);
  }
  return set.registry;
}

interface HostMetric {
  readonly kind: "gauge" | "counter";
  /** Without the prefix. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  readonly samples: (stats: HostStats) => readonly Sample[];
}

const hostMetrics: readonly HostMetric[] = [
  {
    kind: "gauge",
    name: "ingress_up",
    help: "0 while the ingress queue does not answer",
    samples: ({ ingress }) => single(ingress.problem === undefined),
  },
  {
    kind: "gauge",
    name: "ingress_waiting_packs",
    help: "Packs waiting for the fan-out",
    samples: ({ ingress }) => single(ingress.messages),
  },
  {
    kind: "gauge",
    name: "ingress_waiting_requests",
    help: "Requests waiting for the fan-out; absent in SQS, which counts only messages",
    samples: ({ ingress }) => single(ingress.waiting),
  },
  {
    kind: "gauge",
    name: "ingress_dead_letter_packs",
    help: "Packs in the dead letters of the ingress queue: undecodable, or received too often",
    samples: ({ ingress }) => single(ingress.deadMessages),
  },
  {
    kind: "gauge",
    name: "ingress_dead_letter_requests",
    help: "Requests in the dead letters of the ingress queue, counted from the summaries of the packs",
    samples: ({ ingress }) => single(ingress.deadLettered),
  },
  {
    kind: "counter",
    name: "ingress_expired_requests_total",
    help: "Requests that the ingress queue has removed after its retention; absent in SQS, which does not report them",
    samples: ({ ingress }) => single(ingress.expired),
  },
  {
    kind: "gauge",
    name: "missing_packs",
    help: "Packs missing in an agent's sequence: late or lost; of agents that are gone under 'former agents'",
    labels: ["agent"],
    samples: missingPacks,
  },
  {
    kind: "counter",
    name: "target_enqueued_requests_total",
    help: "Requests fanned out to the target: those with a fate, in its dead letters, or waiting in its queue",
    labels: ["target"],
    samples: ofAllTargets(({ enqueued }) => enqueued),
  },
  {
    kind: "counter",
    name: "target_requests_total",
    help: "Requests by fate; answered ones also by status class",
    labels: ["target", "fate", "class"],
    samples: settledRequests,
  },
  {
    kind: "counter",
    name: "capture_enqueued_requests_total",
    help: "Requests fanned out to the capture: those with a fate, or waiting in the ingress queue for its archive",
    labels: ["capture"],
    samples: ofCaptures(({ enqueued }) => enqueued),
  },
  {
    kind: "counter",
    name: "capture_requests_total",
    help: "Requests by fate: captured, filtered, sampled_out or skipped",
    labels: ["capture", "fate"],
    samples: capturedRequests,
  },
  {
    kind: "gauge",
    name: "capture_waiting_requests",
    help: "Requests waiting in the ingress queue until the archive of their capture accepts writes again",
    labels: ["capture"],
    samples: ofCaptures(({ enqueued, fates: settled }) => enqueued - sumOf(settled)),
  },
  {
    kind: "gauge",
    name: "target_waiting_packs",
    help: "Packs waiting for the target",
    labels: ["target"],
    samples: ofAllTargets(({ messages }) => messages),
  },
  {
    kind: "gauge",
    name: "target_waiting_requests",
    help: "Requests waiting for the target; absent in SQS, which counts only messages",
    labels: ["target"],
    samples: ofAllTargets(({ inQueue }) => inQueue),
  },
  // Dead letters are gauges and not a fate: those that are sent again are no longer dead letters.
  {
    kind: "gauge",
    name: "target_dead_letter_packs",
    help: "Messages in the target's dead letters",
    labels: ["target"],
    samples: ofAllTargets(({ deadMessages }) => deadMessages),
  },
  {
    kind: "gauge",
    name: "target_dead_letter_requests",
    help: "Requests in the target's dead letters; absent in SQS, which counts only messages",
    labels: ["target"],
    samples: ofAllTargets(({ inDeadLetters }) => inDeadLetters),
  },
  {
    kind: "gauge",
    name: "queue_bytes",
    help: "What a queue and its dead letters occupy on disk; absent in SQS",
    labels: ["queue"],
    samples: ofQueues(({ bytes }) => bytes),
  },
  {
    kind: "gauge",
    name: "queue_max_bytes",
    help: "Limit of bytes: beyond it, new requests are dropped; absent in SQS",
    labels: ["queue"],
    samples: ofQueues(({ maxBytes }) => maxBytes),
  },
  {
    kind: "gauge",
    name: "damaged_queue_files",
    help: "Files of a queue that were damaged and set aside, and that nobody has deleted; their requests are not delivered",
    labels: ["queue"],
    samples: ofQueues(({ damaged = [] }) => damaged.length),
  },
  {
    kind: "gauge",
    name: "target_removed",
    help: "1 for a target that is no longer in the configuration, but has requests that nobody delivers",
    labels: ["target"],
    samples: removedTargets,
  },
  {
    kind: "counter",
    name: "job_fed_requests_total",
    help: "Requests that replay jobs have put into their targets' queues",
    samples: ({ jobs = {} }) => single(Object.values(jobs).reduce((total, { enqueued }) => total + enqueued, 0)),
  },
  {
    kind: "counter",
    name: "job_requests_total",
    help: "Requests of replay jobs by fate; answered ones also by status class",
    labels: ["fate", "class"],
    samples: replayedRequests,
  },
  {
    kind: "gauge",
    name: "target_rate_limit",
    help: "Requests per second that the target may receive, as configured or changed since; +Inf without a limit",
    labels: ["target"],
    samples: ofTargets(({ live }) =>
      live.ratePerSecond === "unlimited" ? Number.POSITIVE_INFINITY : live.ratePerSecond,
    ),
  },
  {
    kind: "gauge",
    name: "target_pace_factor",
    help: "Share of its rate that the target receives, from 1/64 to 1; below 1 after its shadow asked for less",
    labels: ["target"],
    samples: ofTargets(({ live }) => live.paceFactor),
  },
  {
    kind: "gauge",
    name: "target_breaker_open",
    help: "1 while the target receives only probes, because its shadow failed repeatedly",
    labels: ["target"],
    samples: ofTargets(({ control }) => Number(control.breaker !== undefined)),
  },
  {
    kind: "gauge",
    name: "target_held",
    help: "1 while nothing is sent: paused, outside its window, in a blackout, its breaker is open, or it is removed",
    labels: ["target"],
    samples: (stats) => [...ofTargets(({ held }) => Number(held !== undefined))(stats), ...removedTargets(stats)],
  },
];

function ofTargets(figure: (target: TargetStats) => number | undefined): HostMetric["samples"] {
  return ({ targets }) => toSamples(targets, figure);
}

/** Includes targets that are no longer in the configuration, but have requests. */
function ofAllTargets(figure: (target: SettledStats) => number | undefined): HostMetric["samples"] {
  return ({ targets, removed }) => toSamples({ ...targets, ...removed }, figure);
}

function toSamples<Stats>(
  targets: Readonly<Record<string, Stats>>,
  figure: (target: Stats) => number | undefined,
  label = "target",
): readonly Sample[] {
  const known: [string, number][] = [];
  for (const [name, target] of Object.entries(targets)) {
    const value = figure(target);
    if (value !== undefined) known.push([name, value]);
  }
  return byLabel(label, known);
}

function removedTargets({ removed = {} }: HostStats): readonly Sample[] {
  return byLabel(
    "target",
    Object.keys(removed).map((name) => [name, 1]),
  );
}

function ofQueues(
  figure: (queue: Pick<SettledStats, "bytes" | "maxBytes" | "damaged">) => number | undefined,
): HostMetric["samples"] {
  return ({ ingress, targets, removed }) => toSamples({ ingress, ...targets, ...removed }, figure, "queue");
}

function ofCaptures(figure: (capture: CaptureStats) => number): HostMetric["samples"] {
  return ({ captures = {} }) =>
    byLabel(
      "capture",
      Object.entries(captures).map(([name, capture]) => [name, figure(capture)]),
    );
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

// All runs of an agent together: with a series each, every restart would leave one behind forever.
function missingPacks({ agents, ended = [] }: HostStats): readonly Sample[] {
  const missing = new Map<string, number>();
  const runs = agents.map(({ agent, ...rest }) => ({ ...rest, agent: agentOf(agent) }));
  for (const { agent, missingPacks: packs } of [...runs, ...ended]) {
    missing.set(agent, (missing.get(agent) ?? 0) + packs);
  }
  return byLabel("agent", missing);
}
