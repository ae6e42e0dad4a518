import { Duration } from "aws-cdk-lib";
import { Alarm, ComparisonOperator, type IMetric, MathExpression, TreatMissingData } from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import type { IKey } from "aws-cdk-lib/aws-kms";
import { Construct } from "constructs";
import type { AlarmLayout } from "../alarm.ts";
import { alarmName, toAlarms } from "../alarm-layout.ts";
import type { CostPart } from "../estimate/daily-cost.ts";
import type { StackLayout } from "../layout.ts";
import { runbookLink } from "../runbook.ts";
import { AlarmTopic } from "./alarm-topic.ts";
import { toCloudWatch } from "./cloudwatch-metric.ts";
import type { RelayContext } from "./relay-context.ts";

/** The alarms of a stack. Without an e-mail address they are visible in the console only. */
export class Alarms extends Construct {
  constructor(scope: Construct, stack: StackLayout, key: IKey | undefined, { config, layout }: RelayContext) {
    super(scope, "Alarms");
    const { email } = config.deployment.alarms;
    const alarms = toAlarms(stack, layout, config);
    // A stack that has only buckets has no alarms and needs no topic.
    const mailed = email !== undefined && alarms.length > 0;
    const actions = mailed ? [new SnsAction(new AlarmTopic(this, email, stack, key, layout).topic)] : [];
    for (const one of alarms) {
      const alarm = new Alarm(this, one.id, {
        alarmName: alarmName(layout, one),
        alarmDescription: `${one.says} What to do: ${runbookLink(one.section)}`,
        metric: toMetric(one),
        threshold: one.threshold,
        comparisonOperator:
          one.rings === "above" ? ComparisonOperator.GREATER_THAN_THRESHOLD : ComparisonOperator.LESS_THAN_THRESHOLD,
        evaluationPeriods: one.times.of,
        datapointsToAlarm: one.times.least,
        treatMissingData: one.silence === "good" ? TreatMissingData.NOT_BREACHING : TreatMissingData.BREACHING,
      });
      alarm.addAlarmAction(...actions);
      alarm.addOkAction(...actions);
    }
  }
}

function toMetric({ watches, periodSeconds }: AlarmLayout): IMetric {
  const period = Duration.seconds(periodSeconds);
  if (!isCost(watches)) return toCloudWatch(watches, { period });
  // A sum with a missing value is missing as well: count it as 0.
  const terms = watches.map(({ usdEach }, i) => `FILL(m${i}, 0) * ${toDecimal(usdEach)}`);
  const usingMetrics = Object.fromEntries(watches.map(({ metric }, i) => [`m${i}`, toCloudWatch(metric, { period })]));
  return new MathExpression({ expression: terms.join(" + "), usingMetrics, period, label: "USD" });
}

function isCost(watches: AlarmLayout["watches"]): watches is readonly CostPart[] {
  return Array.isArray(watches);
}

/** Without an exponent, which JavaScript uses for small numbers and CloudWatch does not understand. */
function toDecimal(value: number): string {
  return value.toFixed(15).replace(/0+$/, "");
}
