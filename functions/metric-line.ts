import {
  functionMetrics,
  type MetricId,
  metricNamespace,
  type RelayMetricId,
  type TargetMetricId,
  targetDimension,
} from "../relay/deployed/metrics.ts";
import type { Logger } from "../relay/log/log.ts";
import { percentiles, timesCounted } from "../relay/replay/latency-histogram.ts";
import type { Figures } from "../relay/state/port.ts";

// Ages in one line: enough for CloudWatch's percentiles. CloudWatch accepts at most 100 values of a metric in a line.
const maxTimes = 20;

/**
 * Collects the counts of a function and writes them to the log in CloudWatch's embedded metric format, from which CloudWatch
 * creates metrics: one line for an invocation, or one for each target if it counted for several.
 */
export class MetricLine {
  readonly #namespace: string;
  readonly #log: Logger;
  readonly #now: () => number;
  #relay = new Map<MetricId, number>();
  #targets = new Map<string, Map<MetricId, number>>();
  #times = new Map<string, Map<string, number>>();
  #progress = new Map<string, boolean>();

  /** @param now milliseconds since 1970 */
  constructor(ingressQueueName: string, log: Logger, now: () => number = Date.now) {
    this.#namespace = metricNamespace(ingressQueueName);
    // Metrics are written at any log level.
    this.#log = log.child({}, { level: "info" });
    this.#now = now;
  }

  count(id: RelayMetricId, count: number): void {
    increase(this.#relay, id, count);
  }

  countAt(target: string, id: TargetMetricId, count: number): void {
    increase(entryOf(this.#targets, target), id, count);
  }

  /** Notes that requests of a target were settled, or that they were put back; a settled one counts for the whole line. */
  noteProgress(target: string, settled: boolean): void {
    this.#progress.set(target, settled || this.#progress.get(target) === true);
  }

  /** Wraps `figures`: counts are also counted here once they have been added there. A failure counts as `stateDown`. */
  over(figures: Pick<Figures, "add">): Pick<Figures, "add"> {
    return {
      add: async (target, minuteMs, counts, part) => {
        try {
          await figures.add(target, minuteMs, counts, part);
        } catch (error) {
          this.countAt(target, "stateDown", 1);
          throw error;
        }
        this.#countFigures(target, counts);
      },
    };
  }

  /** Writes the counts since the last call. Writes no line if there are none. */
  write(): void {
    let relay = [...this.#relay].filter(isSome);
    const targets = new Set([...this.#targets.keys(), ...this.#times.keys(), ...this.#progress.keys()]);
    for (const target of targets) {
      const values: [MetricId, number | readonly number[]][] = [...(this.#targets.get(target) ?? [])].filter(isSome);
      const ages = toTimes(this.#times.get(target) ?? new Map());
      if (ages.length > 0) values.push(["ageAtDelivery", ages]);
      const progress = this.#progress.get(target);
      if (progress !== undefined) values.push(["progress", progress ? 1 : 0]);
      if (values.length === 0) continue;
      this.#writeLine(relay, { target, values });
      relay = [];
    }
    if (relay.length > 0) this.#writeLine(relay);
    this.#relay = new Map();
    this.#targets = new Map();
    this.#times = new Map();
    this.#progress = new Map();
  }

  #countFigures(target: string, figures: ReadonlyMap<string, number>): void {
    const ages = entryOf(this.#times, target);
    for (const [name, count] of figures) {
      const id = metricOfFigure[name];
      if (id) this.countAt(target, id, count);
      else increase(ages, name, count);
    }
  }

  #writeLine(relay: Values, at?: { readonly target: string; readonly values: Values }): void {
    const CloudWatchMetrics = [
      ...(at ? [this.#toDirective([targetDimension], at.values)] : []),
      ...(relay.length > 0 ? [this.#toDirective([], relay)] : []),
    ];
    this.#log.info(
      {
        event: "metrics",
        _aws: { Timestamp: this.#now(), CloudWatchMetrics },
        ...(at && { [targetDimension]: at.target }),
        ...Object.fromEntries(
          [...(at?.values ?? []), ...relay].map(([id, value]) => [functionMetrics[id].name, value]),
        ),
      },
      "",
    );
  }

  #toDirective(dimensions: readonly string[], values: Values): unknown {
    const Metrics = values.map(([id]) => ({ Name: functionMetrics[id].name, Unit: functionMetrics[id].unit }));
    return { Namespace: this.#namespace, Dimensions: [dimensions], Metrics };
  }
}

type Values = readonly (readonly [MetricId, number | readonly number[]])[];

const metricOfFigure: Readonly<Record<string, TargetMetricId>> = {
  "answered.1xx": "answered1xx",
  "answered.2xx": "answered2xx",
  "answered.3xx": "answered3xx",
  "answered.4xx": "answered4xx",
  "answered.5xx": "answered5xx",
  "answered.malformed": "answeredMalformed",
  undelivered: "undelivered",
  closed: "undelivered",
  timedOut: "undelivered",
  deadLettered: "deadLettered",
  skipped: "skipped",
  expired: "skipped",
};

function isSome([, count]: readonly [MetricId, number]): boolean {
  return count > 0;
}

/** At most `maxTimes` ages with the same distribution as those counted. */
function toTimes(counts: ReadonlyMap<string, number>): readonly number[] {
  const length = Math.min(maxTimes, timesCounted(counts, "age"));
  const shares = Array.from({ length }, (_, i) => (i + 0.5) / length);
  return percentiles(counts, shares, "age") as number[];
}

function entryOf<V>(maps: Map<string, Map<V, number>>, key: string): Map<V, number> {
  let entry = maps.get(key);
  if (!entry) {
    entry = new Map();
    maps.set(key, entry);
  }
  return entry;
}

function increase<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
