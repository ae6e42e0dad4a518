import { Duration } from "aws-cdk-lib";
import {
  Alarm,
  AlarmStatusWidget,
  Dashboard,
  GraphWidget,
  type IMetric,
  type IWidget,
  PeriodOverride,
} from "aws-cdk-lib/aws-cloudwatch";
import { Construct } from "constructs";
import type { MetricId } from "../../relay/deployed/metrics.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import { alarmName, toAlarms } from "../alarm-layout.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout, StackLayout } from "../layout.ts";
import { toArn } from "../place.ts";
import type { QueueLayout } from "../queue-layout.ts";
import { ofFunction, ofQueue, ofRelay, type WatchedMetric } from "../watched-metric.ts";
import { toCloudWatch } from "./cloudwatch-metric.ts";
import type { RelayContext } from "./relay-context.ts";

const period = Duration.minutes(1);
const fullWidth = 24;
/** CloudWatch allows 100 alarms in a widget. */
const mostAlarms = 100;

/** One dashboard for all regions of an account; it belongs to the account's first stack. */
export class RelayDashboard extends Construct {
  static addTo(scope: Construct, stack: StackLayout, context: RelayContext): void {
    const stacks = context.layout.stacks.filter(({ account }) => account === stack.account);
    if (stack === stacks[0]) new RelayDashboard(scope, stacks, context);
  }

  private constructor(scope: Construct, stacks: readonly StackLayout[], { config, layout }: RelayContext) {
    super(scope, "Dashboard");
    const alarms = stacks.flatMap((stack) =>
      toAlarms(stack, layout, config).map((alarm) => toArn(stack, "cloudwatch", `alarm:${alarmName(layout, alarm)}`)),
    );
    const shown = alarms.map((arn, i) => Alarm.fromAlarmArn(this, `Alarm${i}`, arn));
    const functions = stacks.flatMap((stack) => stack.functions);
    const [ingress] = stacks.flatMap(({ queues }) => queues).filter(({ owner }) => owner === ingressQueue);
    new Dashboard(this, "Board", {
      // Dashboard names are unique across all regions of an account.
      dashboardName: `${layout.name}-${stacks[0].region}`,
      defaultInterval: Duration.hours(3),
      periodOverride: PeriodOverride.INHERIT,
      widgets: [
        ...Array.from({ length: Math.ceil(shown.length / mostAlarms) }, (_, i) => [
          new AlarmStatusWidget({
            title: "Alarms (infra/RUNBOOK.md says what to do)",
            width: fullWidth,
            height: 4,
            alarms: shown.slice(i * mostAlarms, (i + 1) * mostAlarms),
          }),
        ]),
        ...(ingress ? [ingressRow(ingress, functions, layout)] : []),
        ...functions.flatMap((one) => (one.kind === "replay" ? [targetRow(one, functions, layout)] : [])),
        functionRow(functions),
      ],
    });
  }
}

function ingressRow(queue: QueueLayout, functions: readonly FunctionLayout[], { name }: Layout): IWidget[] {
  const of = (kind: FunctionLayout["kind"], id: MetricId, statistic: WatchedMetric["statistic"]) =>
    functions.filter((one) => one.kind === kind).map(({ region }) => graph(ofRelay(name, id, statistic), region, id));
  return toRow([
    {
      title: "Packs from agents",
      left: [
        graph(ofQueue(queue, "NumberOfMessagesSent", "Sum"), queue.region, "sent"),
        graph(ofRelay(name, "packs", "Sum"), queue.region, "fanned out"),
        ...of("fanout", "fanOutStateDown", "Sum"),
      ],
    },
    waiting(`Packs waiting in ${queue.name}`, queue),
    {
      title: "Requests of captures and replay jobs",
      left: [
        ...of("fanout", "captured", "Sum"),
        ...of("schedule", "waitingForCapture", "Maximum"),
        ...of("schedule", "jobRequests", "Sum"),
      ],
    },
    { title: "Packs missing: numbered by an agent, never arrived", left: of("schedule", "missingPacks", "Maximum") },
  ]);
}

function targetRow(replay: FunctionLayout, functions: readonly FunctionLayout[], { name }: Layout): IWidget[] {
  const { target = "", region, reads } = replay;
  const own = (id: MetricId, statistic: WatchedMetric["statistic"], label: string, color?: string) =>
    graph(ofRelay(name, id, statistic, target), region, label, color);
  const breaker = functions
    .filter(({ kind }) => kind === "schedule")
    .map((schedule) => graph(ofRelay(name, "breakerOpen", "Maximum", target), schedule.region, "breaker open"));
  return toRow([
    {
      title: `${target}: answers`,
      stacked: true,
      left: [
        own("answered2xx", "Sum", "2xx", "#2ca02c"),
        own("answered3xx", "Sum", "3xx", "#1f77b4"),
        own("answered4xx", "Sum", "4xx", "#ff7f0e"),
        own("answered5xx", "Sum", "5xx", "#d62728"),
        own("answered1xx", "Sum", "1xx", "#7f7f7f"),
        own("answeredMalformed", "Sum", "malformed", "#9467bd"),
      ],
    },
    {
      title: `${target}: failures`,
      left: [
        own("undelivered", "Sum", "failed attempts"),
        own("deadLettered", "Sum", "dead letters"),
        own("skipped", "Sum", "skipped"),
        own("stateDown", "Sum", "state table fails"),
      ],
      right: [...breaker, own("progress", "Maximum", "progress: 1, or 0 if requests only go back")],
    },
    ...(reads ? [waiting(`${target}: packs waiting`, reads.queue)] : []),
    {
      title: `${target}: age of requests when sent`,
      left: [own("ageAtDelivery", "p50", "p50, ms"), own("ageAtDelivery", "p99", "p99, ms")],
    },
  ]);
}

function functionRow(functions: readonly FunctionLayout[]): IWidget[] {
  const of = (metric: Parameters<typeof ofFunction>[1], statistic: WatchedMetric["statistic"], suffix = "") =>
    functions.map((one) => graph(ofFunction(one, metric, statistic), one.region, `${one.name}${suffix}`));
  return toRow([
    { title: "Functions: invocations", left: of("Invocations", "Sum") },
    { title: "Functions: concurrent invocations", left: of("ConcurrentExecutions", "Maximum") },
    { title: "Functions: duration p99, ms", left: of("Duration", "p99") },
    {
      title: "Functions: errors and throttles",
      left: [...of("Errors", "Sum", ", errors"), ...of("Throttles", "Sum", ", throttles")],
    },
  ]);
}

interface Graph {
  readonly title: string;
  readonly left: IMetric[];
  readonly right?: IMetric[];
  readonly stacked?: boolean;
}

function waiting(title: string, queue: QueueLayout): Graph {
  const { region, deadLetters } = queue;
  return {
    title,
    left: [
      graph(ofQueue(queue, "ApproximateNumberOfMessagesVisible", "Maximum"), region, "waiting"),
      graph(ofQueue(deadLetters, "ApproximateNumberOfMessagesVisible", "Maximum"), region, "dead letters"),
    ],
    right: [graph(ofQueue(queue, "ApproximateAgeOfOldestMessage", "Maximum"), region, "oldest, s")],
  };
}

function toRow(graphs: readonly Graph[]): IWidget[] {
  const width = Math.floor(fullWidth / graphs.length);
  return graphs.map((one) => new GraphWidget({ ...one, width, height: 6, leftYAxis: { min: 0, showUnits: false } }));
}

function graph(metric: WatchedMetric, region: string, label: string, color?: string): IMetric {
  return toCloudWatch(metric, { period, region, label, ...(color && { color }) });
}
