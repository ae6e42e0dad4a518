import type { Template } from "aws-cdk-lib/assertions";
import { describe, expect, it } from "vitest";
import { prices } from "../../../infra/estimate/prices.ts";
import { synthesise, templatesOf } from "../../support/aws/synthesis.ts";
import { exampleNames } from "../../support/data/layouts.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";

const place = [
  "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop",
  "state: dynamodb:shop",
  "captures: { all: { store: s3://shop-captures } }",
];

describe("the alarms of a deployment", () => {
  it.each(exampleNames)("watch every dead-letter queue: %s", (name) => {
    for (const template of Object.values(templatesOf(name))) {
      const queues = Object.values(template.findResources("AWS::SQS::Queue")).map(({ Properties }) => Properties);
      const dead = queues.filter(({ RedriveAllowPolicy }) => RedriveAllowPolicy).map(({ QueueName }) => QueueName);
      const watched = alarmsOf(template)
        .filter(({ MetricName }) => MetricName === "ApproximateNumberOfMessagesVisible")
        .map(({ Dimensions }) => Dimensions?.[0].Value);

      expect(dead.length * 2).toBe(queues.length);
      expect(watched.sort()).toEqual(dead.sort());
    }
  });

  it.each(exampleNames)("watch errors and throttles of every function: %s", (name) => {
    for (const template of Object.values(templatesOf(name))) {
      const functions = Object.values(template.findResources("AWS::Lambda::Function"));
      const names = functions.map(({ Properties }) => Properties.FunctionName).sort();

      for (const metric of ["Errors", "Throttles"]) {
        const alarms = alarmsOf(template).filter(({ MetricName }) => MetricName === metric);
        expect(alarms.map(({ Dimensions }) => Dimensions?.[0].Value).sort()).toEqual(names);
      }
    }
  });

  it("ring if the ingress queue has no metrics for the configured time", () => {
    const template = templateOf(
      "targets: { a: { url: 'https://a', rate: 1/s } }",
      "aws: { alarms: { silentAfter: 40m } }",
    );

    expect(alarmOf(template, "shop-AgentSilent")).toMatchObject({
      MetricName: "NumberOfMessagesSent",
      Dimensions: [{ Name: "QueueName", Value: "shop" }],
      Statistic: "Sum",
      Period: 2_400,
      EvaluationPeriods: 1,
      ComparisonOperator: "LessThanThreshold",
      Threshold: 1,
      TreatMissingData: "breaching",
    });
  });

  it("ring if DynamoDB throttles the table, or only one of its keys", () => {
    const template = templateOf("targets: { a: { url: 'https://a', rate: 1/s } }");
    const metrics = ["TableThrottled", "HotKey"].flatMap((name) =>
      ["Read", "Write"].map((kind) => alarmOf(template, `shop-${name}-${kind}`)),
    );

    expect(metrics.map((alarm) => alarm?.MetricName)).toEqual([
      "ReadThrottleEvents",
      "WriteThrottleEvents",
      "ReadKeyRangeThroughputThrottleEvents",
      "WriteKeyRangeThroughputThrottleEvents",
    ]);
    for (const alarm of metrics) {
      expect(alarm).toMatchObject({
        Namespace: "AWS/DynamoDB",
        Dimensions: [{ Name: "TableName", Value: "shop" }],
        Statistic: "Sum",
        Threshold: 0,
        ComparisonOperator: "GreaterThanThreshold",
        TreatMissingData: "notBreaching",
      });
    }
  });

  it("watch the state and the progress of a replay in periods that are longer than its invocations", () => {
    const template = templateOf(
      "targets:",
      "  quick: { url: 'https://a', rate: 1/s }",
      "  slow: { url: 'https://a', rate: 1/s, timeout: 7m }",
    );

    for (const [target, Period] of [
      ["quick", 300],
      ["slow", 900],
    ] as const) {
      const shared = { Period, EvaluationPeriods: 3, Dimensions: [{ Name: "Target", Value: target }] };
      expect(alarmOf(template, `shop-StateDown-replay-${target}`)).toMatchObject({ ...shared, DatapointsToAlarm: 2 });
      expect(alarmOf(template, `shop-NoProgress-${target}`)).toMatchObject({
        ...shared,
        DatapointsToAlarm: 3,
        Statistic: "Maximum",
        ComparisonOperator: "LessThanThreshold",
        Threshold: 1,
      });
    }
  });

  it("ring if the schedule does not run, but not if its metrics are missing", () => {
    const template = templateOf("targets: { a: { url: 'https://a', rate: 1/s } }");

    expect(alarmOf(template, "shop-ScheduleStopped")).toMatchObject({
      MetricName: "Invocations",
      Dimensions: [{ Name: "FunctionName", Value: "shop-schedule" }],
      ComparisonOperator: "LessThanThreshold",
      TreatMissingData: "breaching",
    });
    expect(alarmOf(template, "shop-BreakerOpen-a")).toMatchObject({
      Namespace: "spoa-relay/shop",
      MetricName: "BreakerOpen",
      Dimensions: [{ Name: "Target", Value: "a" }],
      TreatMissingData: "notBreaching",
    });
    expect(alarmOf(template, "shop-CaptureWaits")).toMatchObject({ MetricName: "WaitingForCapture" });
  });

  it("let packs wait longer for a target with a window", () => {
    const template = templateOf(
      "targets:",
      "  always: { url: 'https://a', rate: 1/s }",
      "  nightly: { url: 'https://a', rate: 1/s, window: '22:00-06:00 UTC' }",
    );

    expect(alarmOf(template, "shop-PacksWait-ingress")?.Threshold).toBe(900);
    expect(alarmOf(template, "shop-PacksWait-always")?.Threshold).toBe(3_600);
    expect(alarmOf(template, "shop-PacksWait-nightly")?.Threshold).toBe(5 * 86_400);
  });
});

describe("the alarm of a day's cost", () => {
  it("exists only if dailyCost is configured", () => {
    const target = "targets: { a: { url: 'https://a', rate: 1/s } }";

    expect(alarmOf(templateOf(target), "shop-DailyCost")).toBeUndefined();
    expect(alarmOf(templateOf(target, "aws: { alarms: { dailyCost: 5 USD } }"), "shop-DailyCost")).toMatchObject({
      Threshold: 5,
      ComparisonOperator: "GreaterThanThreshold",
    });
  });

  it("adds up the counts of queues, functions and the table, at list prices", () => {
    const template = templateOf(
      "targets: { a: { url: 'https://a', rate: 1/s } }",
      "aws: { alarms: { dailyCost: 5 USD } }",
    );
    const { Metrics = [] } = alarmOf(template, "shop-DailyCost") ?? {};
    const million = 1e6;

    const counted: Readonly<Record<string, number>> = {
      "NumberOfMessagesSent shop": million,
      "Duration shop-fanout": 1_000 * million,
      "Duration shop-replay-a": 2_000 * million,
      "ConsumedWriteCapacityUnits shop": million,
    };

    // Each of two queues bills a pack for sending, receiving and a tenth of a call that deletes it. A function has one GB.
    const packs = 2 * 2.1 * million * prices.sqsRequest;
    const functions = 3 * million * prices.lambdaGbSecond;
    const table = million * prices.dynamoDbWrite;
    expect(evaluate(Metrics, counted)).toBeCloseTo(packs + functions + table, 6);
    expect(evaluate(Metrics, {})).toBe(0);
    expect(new Set(Metrics.flatMap(({ MetricStat }) => (MetricStat ? [MetricStat.Period] : [])))).toEqual(
      new Set([86_400]),
    );
  });

  it("is split into several if the cost has more parts than an alarm may have metrics", () => {
    const names = Array.from({ length: 12 }, (_, i) => `target${i}`);
    const template = templateOf(
      "targets:",
      ...names.map((name) => `  ${name}: { url: 'https://a', rate: 1/s }`),
      "aws: { alarms: { dailyCost: 5 USD } }",
    );

    const alarms = alarmsOf(template).filter(({ AlarmName }) => AlarmName.startsWith("shop-DailyCost"));
    const counts = alarms.map(({ Metrics = [] }) => Metrics.filter(({ MetricStat }) => MetricStat).length);
    expect(counts).toEqual([10, 7]);
  });
});

describe("the mails of alarms", () => {
  it("are sent when an alarm starts and ends, over an encrypted topic to which only CloudWatch publishes", () => {
    for (const key of [
      "",
      "key: own, ",
      "key: 'arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab', ",
    ]) {
      const template = templateOf(
        "targets: { a: { url: 'https://a', rate: 1/s } }",
        `aws: { ${key}alarms: { email: ops@example.com } }`,
      );
      const [[topic, { Properties: properties }]] = Object.entries(template.findResources("AWS::SNS::Topic"));
      const policy = Object.values(template.findResources("AWS::SNS::TopicPolicy"))[0].Properties.PolicyDocument;
      const keys = Object.entries(template.findResources("AWS::KMS::Key"));
      const [, used] = keys.find(([id]) => id === properties.KmsMasterKeyId["Fn::GetAtt"][0]) ?? [];

      for (const { AlarmActions, OKActions } of alarmsOf(template)) {
        expect([AlarmActions, OKActions]).toEqual([[{ Ref: topic }], [{ Ref: topic }]]);
      }
      template.hasResourceProperties("AWS::SNS::Subscription", { Protocol: "email", Endpoint: "ops@example.com" });
      const own = { StringEquals: { "aws:SourceAccount": "111122223333" } };
      const cloudWatch = { Effect: "Allow", Principal: { Service: "cloudwatch.amazonaws.com" }, Condition: own };
      expect(policy.Statement).toMatchObject([
        { Effect: "Deny", Action: "sns:Publish", Condition: { Bool: { "aws:SecureTransport": "false" } } },
        { ...cloudWatch, Action: "sns:Publish" },
      ]);
      expect(used?.Properties.KeyPolicy.Statement).toContainEqual(
        expect.objectContaining({ ...cloudWatch, Action: ["kms:Decrypt", "kms:GenerateDataKey*"] }),
      );
    }
  });

  it("need an address: without one there is no topic", () => {
    const template = templateOf("targets: { a: { url: 'https://a', rate: 1/s } }");

    template.resourceCountIs("AWS::SNS::Topic", 0);
    template.resourceCountIs("AWS::KMS::Key", 0);
    for (const alarm of alarmsOf(template)) expect(alarm.AlarmActions).toBeUndefined();
  });
});

interface AlarmProperties {
  readonly AlarmName: string;
  readonly MetricName?: string;
  readonly Dimensions?: readonly { readonly Name: string; readonly Value: string }[];
  readonly Threshold: number;
  readonly AlarmActions?: unknown;
  readonly OKActions?: unknown;
  readonly Metrics?: readonly MetricQuery[];
}

interface MetricQuery {
  readonly Id: string;
  readonly Expression?: string;
  readonly MetricStat?: {
    readonly Metric: { readonly MetricName: string; readonly Dimensions: readonly { readonly Value: string }[] };
    readonly Period: number;
  };
}

/** The template of the only stack of a configuration with these lines. */
function templateOf(...lines: readonly string[]): Template {
  return synthesise(configFile(...place, ...lines)).templates.shop;
}

function alarmsOf(template: Template): readonly AlarmProperties[] {
  return Object.values(template.findResources("AWS::CloudWatch::Alarm")).map(({ Properties }) => Properties);
}

function alarmOf(template: Template, name: string): AlarmProperties | undefined {
  return alarmsOf(template).find(({ AlarmName }) => AlarmName === name);
}

/** Evaluates an expression of sums and products as CloudWatch does; metrics that are not in `counted` have no value. */
function evaluate(queries: readonly MetricQuery[], counted: Readonly<Record<string, number>>): number {
  const { Expression = "" } = queries.find((query) => query.Expression) ?? {};
  const terms = Expression.split(" + ").map((term) => {
    const [, id, each] = /^FILL\((\w+), 0\) \* ([\d.]+)$/.exec(term) ?? [];
    const { Metric: metric } = queries.find((query) => query.Id === id)?.MetricStat ?? {};
    return (counted[`${metric?.MetricName} ${metric?.Dimensions[0].Value}`] ?? 0) * Number(each);
  });
  return terms.reduce((sum, term) => sum + term, 0);
}
