import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** A figure with its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads a metric's samples when it is scraped; one that is not among them is absent. */
export type ReadSamples = () => readonly Sample[] | Promise<readonly Sample[]>;

/** Metrics of one process for Prometheus, with those of the process itself: CPU, memory, descriptors, garbage collection. */
export class MetricSet {
  readonly registry = new Registry();
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
    collectDefaultMetrics({ register: this.registry });
    // Gauges whose names end as those of counters do, and a delay that has the interval of its measurement in it.
    for (const { name } of this.registry.getMetricsAsArray()) {
      if (/^nodejs_(?:active_\w+|eventloop_lag\w*_seconds)$/.test(name)) this.registry.removeSingleMetric(name);
    }
  }

  gauge(name: string, help: string, read: ReadSamples, labelNames: string[] = []): void {
    new Gauge({
      ...this.#options(name, help, labelNames),
      async collect() {
        const samples = await read();
        this.reset();
        // Without labels `reset` leaves a 0.
        if (labelNames.length === 0) this.remove();
        for (const { labels, value } of samples) this.set(labels, value);
      },
    });
  }

  counter(name: string, help: string, read: ReadSamples, labelNames: string[] = []): void {
    new Counter({
      ...this.#options(name, help, labelNames),
      async collect() {
        const samples = await read();
        this.reset();
        if (labelNames.length === 0) this.remove();
        for (const { labels, value } of samples) this.inc(labels, value);
      },
    });
  }

  #options(name: string, help: string, labelNames: string[]) {
    return { name: this.#prefix + name, help, labelNames, registers: [this.registry] };
  }
}

/** The one sample of a metric without labels; none where there is no figure. */
export function single(value: number | boolean | undefined): readonly Sample[] {
  return value === undefined ? [] : [{ labels: {}, value: Number(value) }];
}

export function byLabel(label: string, counts: Iterable<readonly [string, number]>): readonly Sample[] {
  return Array.from(counts, ([name, value]) => ({ labels: { [label]: name }, value }));
}
