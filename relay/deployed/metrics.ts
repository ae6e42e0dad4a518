/**
 * The CloudWatch metrics of the functions in Lambda. `functions/` writes them; the alarms and the dashboard of `infra/`
 * read them. CloudWatch charges $0.30 a month per metric, and per target for metrics by target, but only for hours with
 * values: so a 0 is not written, except for `progress`.
 */
export const functionMetrics = {
  /** Packs received from the ingress queue; counted by `replay` if it reads that queue itself. */
  packs: { name: "Packs", unit: "Count", by: "relay", from: "fanout" },
  /** Requests written to a capture. */
  captured: { name: "Captured", unit: "Count", by: "relay", from: "fanout" },
  answered1xx: { name: "Answered1xx", unit: "Count", by: "target", from: "replay" },
  answered2xx: { name: "Answered2xx", unit: "Count", by: "target", from: "replay" },
  answered3xx: { name: "Answered3xx", unit: "Count", by: "target", from: "replay" },
  answered4xx: { name: "Answered4xx", unit: "Count", by: "target", from: "replay" },
  answered5xx: { name: "Answered5xx", unit: "Count", by: "target", from: "replay" },
  /** Answers that are not HTTP. */
  answeredMalformed: { name: "AnsweredMalformed", unit: "Count", by: "target", from: "replay" },
  /** Attempts that did not reach the shadow, lost their connection or had no answer in time. */
  undelivered: { name: "Undelivered", unit: "Count", by: "target", from: "replay" },
  deadLettered: { name: "DeadLettered", unit: "Count", by: "target", from: "replay" },
  /** Requests that were left out because they are too old or their body is incomplete. */
  skipped: { name: "Skipped", unit: "Count", by: "target", from: "replay" },
  /** Failures of the state store, as the replay of a target sees them: its packs wait, or are sent again. */
  stateDown: { name: "StateDown", unit: "Count", by: "target", from: "replay" },
  /** The same, as the fan-out sees them. */
  fanOutStateDown: { name: "FanOutStateDown", unit: "Count", by: "relay", from: "fanout" },
  /**
   * 1 if an invocation has settled a request. 0, which is written for this metric, if it put requests back and settled none
   * although the target is not held.
   */
  progress: { name: "Progress", unit: "Count", by: "target", from: "replay" },
  /** Time from the capture of a request to its sending. */
  ageAtDelivery: { name: "AgeAtDelivery", unit: "Milliseconds", by: "target", from: "replay" },
  /** 1 each minute while the target's breaker is open. */
  breakerOpen: { name: "BreakerOpen", unit: "Count", by: "target", from: "schedule" },
  /** Packs whose sequence numbers are missing since the ledger began. */
  missingPacks: { name: "MissingPacks", unit: "Count", by: "relay", from: "schedule" },
  /** Requests that wait because the archive of their capture is away. */
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
  /** The function that writes the metric, in its own region and account. */
  readonly from: "fanout" | "replay" | "schedule";
}

export const targetDimension = "Target";

/** Each ingress queue has its own namespace: this separates two relays in one account. */
export function metricNamespace(ingressQueueName: string): string {
  return `spoa-relay/${ingressQueueName}`;
}
