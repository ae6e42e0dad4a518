import type { AlarmLayout } from "../../../infra/alarm.ts";
import type { WatchedMetric } from "../../../infra/watched-metric.ts";
import { isEmbeddedMetrics } from "./metric-lines.ts";

/** Whether an alarm rings after periods in which functions wrote these lines, oldest first; evaluated as CloudWatch does. */
export function rings(alarm: AlarmLayout, periods: readonly (readonly unknown[])[]): boolean {
  const { watches, times, rings: direction, threshold, silence } = alarm;
  if (!("namespace" in watches)) throw new Error(`${alarm.id} watches several metrics`);
  const passed = periods.slice(-times.of).filter((lines) => {
    const value = toValue(watches, lines);
    if (value === undefined) return silence === "bad";
    return direction === "above" ? value > threshold : value < threshold;
  });
  return passed.length >= times.least;
}

/** The value of a metric in a period; undefined without values. */
function toValue({ namespace, name, dimensions, statistic }: WatchedMetric, lines: readonly unknown[]) {
  const values = lines.filter(isEmbeddedMetrics).flatMap((line) => {
    const fits = line._aws.CloudWatchMetrics.some(
      (one) =>
        one.Namespace === namespace &&
        one.Metrics.some(({ Name }) => Name === name) &&
        one.Dimensions.some(
          (names) =>
            names.length === Object.keys(dimensions).length &&
            names.every((dimension) => line[dimension] === dimensions[dimension]),
        ),
    );
    return fits ? [line[name] as number | readonly number[]].flat() : [];
  });
  if (values.length === 0) return undefined;
  switch (statistic) {
    case "Sum":
      return values.reduce((sum, value) => sum + value, 0);
    case "Maximum":
      return Math.max(...values);
    case "Minimum":
      return Math.min(...values);
    default:
      throw new Error(`${statistic} is not evaluated here`);
  }
}
