import { functionMetrics, type MetricId, metricNamespace, targetDimension } from "../relay/deployed/metrics.ts";
import type { FunctionLayout } from "./function-layout.ts";
import type { TableLayout } from "./layout.ts";

/** A metric in CloudWatch, and how the values of a period become one. */
export interface WatchedMetric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
  readonly statistic: "Sum" | "Maximum" | "Minimum" | "p50" | "p99";
}

type Statistic = WatchedMetric["statistic"];

/** What SQS tells of a queue. It stops after six hours in which nothing happened to the queue. */
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

/** What Lambda tells of a function. */
export function ofFunction(
  { name }: Pick<FunctionLayout, "name">,
  metric: "Invocations" | "Errors" | "Throttles" | "Duration" | "ConcurrentExecutions",
  statistic: Statistic,
): WatchedMetric {
  return { namespace: "AWS/Lambda", name: metric, dimensions: { FunctionName: name }, statistic };
}

export function ofTable(
  { name }: TableLayout,
  metric: "ConsumedReadCapacityUnits" | "ConsumedWriteCapacityUnits",
): WatchedMetric {
  return { namespace: "AWS/DynamoDB", name: metric, dimensions: { TableName: name }, statistic: "Sum" };
}

/** What a function has written, see functions/metric-line. It is in the region and account of that function. */
export function ofRelay(layoutName: string, id: MetricId, statistic: Statistic, target?: string): WatchedMetric {
  return {
    namespace: metricNamespace(layoutName),
    name: functionMetrics[id].name,
    dimensions: target === undefined ? {} : { [targetDimension]: target },
    statistic,
  };
}
