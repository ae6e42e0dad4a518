import { functionMetrics, type MetricId, metricNamespace, targetDimension } from "../relay/deployed/metrics.ts";
import type { FunctionLayout } from "./function-layout.ts";
import type { TableLayout } from "./layout.ts";

/** A metric in CloudWatch, and the statistic that makes one value of a period's values. */
export interface WatchedMetric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
  readonly statistic: "Sum" | "Maximum" | "Minimum" | "p50" | "p99";
}

type Statistic = WatchedMetric["statistic"];

/** A metric that SQS writes about a queue. SQS stops writing after six hours without activity in the queue. */
export function ofQueue(
  { name }: { readonly name: string },
  metric:
    | "ApproximateNumberOfMessagesVisible"
    | "ApproximateAgeOfOldestMessage"
    | "NumberOfMessagesSent"
    | "NumberOfMessagesReceived",
  statistic: Statistic,
): WatchedMetric {
  return { namespace: "AWS/SQS", name: metric, dimensions: { QueueName: name }, statistic };
}

/** A metric that Lambda writes about a function. */
export function ofFunction(
  { name }: Pick<FunctionLayout, "name">,
  metric: "Invocations" | "Errors" | "Throttles" | "Duration" | "ConcurrentExecutions",
  statistic: Statistic,
): WatchedMetric {
  return { namespace: "AWS/Lambda", name: metric, dimensions: { FunctionName: name }, statistic };
}

/**
 * A metric that DynamoDB writes about a table. `ReadThrottleEvents` counts every throttled read;
 * `ReadKeyRangeThroughputThrottleEvents` only those that a partition is too busy for, though the table is not.
 */
export function ofTable(
  { name }: TableLayout,
  metric: `Consumed${"Read" | "Write"}CapacityUnits` | `${"Read" | "Write"}${"" | "KeyRangeThroughput"}ThrottleEvents`,
): WatchedMetric {
  return { namespace: "AWS/DynamoDB", name: metric, dimensions: { TableName: name }, statistic: "Sum" };
}

/** A metric that our functions write, see functions/metric-line. It is in the region and account of the function. */
export function ofRelay(layoutName: string, id: MetricId, statistic: Statistic, target?: string): WatchedMetric {
  return {
    namespace: metricNamespace(layoutName),
    name: functionMetrics[id].name,
    dimensions: target === undefined ? {} : { [targetDimension]: target },
    statistic,
  };
}
