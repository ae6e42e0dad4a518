import type { Duration } from "aws-cdk-lib";
import { Metric } from "aws-cdk-lib/aws-cloudwatch";
import type { WatchedMetric } from "../watched-metric.ts";

export interface MetricOptions {
  readonly period: Duration;
  /** The region of the metric, for graphs. An alarm reads metrics of its own region only. */
  readonly region?: string;
  readonly label?: string;
  readonly color?: string;
}

export function toCloudWatch(
  { namespace, name, dimensions, statistic }: WatchedMetric,
  options: MetricOptions,
): Metric {
  return new Metric({ namespace, metricName: name, dimensionsMap: dimensions, statistic, ...options });
}
