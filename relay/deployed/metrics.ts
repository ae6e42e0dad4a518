/**
 * The metrics that the functions in Lambda put into CloudWatch: `functions/` writes them, alarms and the dashboard of
 * `infra/` read them. CloudWatch takes $0.30 a month for each, and of those by target for each target, but only for the
 * hours in which there was something to count: a 0 is not written.
 */
export const functionMetrics = {
  /** Packs that were taken from the ingress queue; by the replay where that reads it itself. */
  packs: { name: "Packs", unit: "Count", by: "relay", from: "fanout" },
  /** Requests that were put into a capture. */
  captured: { name: "Captured", unit: "Count", by: "relay", from: "fanout" },
  answered1xx: { name: "Answered1xx", unit: "Count", by: "target", from: "replay" },
  answered2xx: { name: "Answered2xx", unit: "Count", by: "target", from: "replay" },
  answered3xx: { name: "Answered3xx", unit: "Count", by: "target", from: "replay" },
  answered4xx: { name: "Answered4xx", unit: "Count", by: "target", from: "replay" },
  answered5xx: { name: "Answered5xx", unit: "Count", by: "target", from: "replay" },
  /** Tries that did not reach the shadow, or had no answer in time. */
  undelivered: { name: "Undelivered", unit: "Count", by: "target", from: "replay" },
  deadLettered: { name: "DeadLettered", unit: "Count", by: "target", from: "replay" },
  /** Requests left out: too old, or not whole. */
  skipped: { name: "Skipped", unit: "Count", by: "target", from: "replay" },
  /** From the capture of a request to its sending. */
  ageAtDelivery: { name: "AgeAtDelivery", unit: "Milliseconds", by: "target", from: "replay" },
  /** 1 each minute while it is open. */
  breakerOpen: { name: "BreakerOpen", unit: "Count", by: "target", from: "schedule" },
  /** Packs whose number was passed over since the ledger began. */
  missingPacks: { name: "MissingPacks", unit: "Count", by: "relay", from: "schedule" },
  /** Requests that wait until the archive of their capture is back. */
  waitingForCapture: { name: "WaitingForCapture", unit: "Count", by: "relay", from: "schedule" },
  /** Requests that replay jobs put into the queues of their targets. */
  jobRequests: { name: "JobRequests", unit: "Count", by: "relay", from: "schedule" },
} as const satisfies Readonly<Record<string, FunctionMetric>>;

type All = typeof functionMetrics;
export type MetricId = keyof All;
export type TargetMetricId = { [Id in MetricId]: All[Id]["by"] extends "target" ? Id : never }[MetricId];
export type RelayMetricId = Exclude<MetricId, TargetMetricId>;

interface FunctionMetric {
  readonly name: string;
  readonly unit: "Count" | "Milliseconds";
  /** Metrics by target have the dimension `targetDimension`, the others none. */
  readonly by: "relay" | "target";
  /** The function that writes it, in whose region and account it is. */
  readonly from: "fanout" | "replay" | "schedule";
}

export const targetDimension = "Target";

/** What belongs to one ingress queue has a namespace of its own, so that two relays in an account are kept apart. */
export function metricNamespace(ingressQueueName: string): string {
  return `spoa-relay/${ingressQueueName}`;
}
