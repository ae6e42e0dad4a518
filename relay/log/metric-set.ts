import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** A value with its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads a metric's samples at each scrape. Samples that it does not return are absent from the scrape. */
export type ReadSamples = () => readonly Sample[] | Promise<readonly Sample[]>;

/** Prometheus metrics of a process, including Node's own: CPU, memory, file descriptors, garbage collection. */
export class MetricSet {
  readonly registry = new Registry();
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
    collectDefaultMetrics({ register: this.registry });
    // Removes gauges that are named like counters, and an event loop delay that includes its measuring interval.
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
        // For a metric without labels, `reset` sets 0 instead of removing the sample.
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

/** The sample of a metric without labels; no sample if the value is undefined. */
export function single(value: number | boolean | undefined): readonly Sample[] {
  return value === undefined ? [] : [{ labels: {}, value: Number(value) }];
}

export function byLabel(label: string, counts: Iterable<readonly [string, number]>): readonly Sample[] {
  return Array.from(counts, ([name, value]) => ({ labels: { [label]: name }, value }));
}
